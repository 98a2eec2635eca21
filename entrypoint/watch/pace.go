package watch

import "time"

const (
	// settle is how long after the first event of a burst it looks: long
	// enough that one write of one file is one look, short beside Debounce.
	settle = 10 * time.Millisecond

	// thrift bounds what looking costs while events keep coming: after a
	// look, the pause is at least this many times as long as the look took.
	thrift = 20

	// restless is after how long it says that the content never gets to rest.
	restless = time.Minute

	// blindPoll is how often it looks where inotify can't serve.
	blindPoll = 2 * time.Second
)

// pace says when to look, and when the content is at rest: when two looks, the
// debounce time apart, and all looks between them have seen the same.
//
// It looks soon after an event, since the debounce time counts from what was
// seen and not from what was announced. Where a look is so costly that it
// can't follow the events, it waits until they are quiet, or until thrift
// allows. It reads no clock, so that it can be tested without one.
type pace struct {
	debounce time.Duration

	first, last time.Time     // the first and last event since the last look began; zero: none
	moving      bool          // the content was not yet found at rest
	began       time.Time     // when that began
	steady      time.Time     // since then every look has seen the same
	ended       time.Time     // when the last look ended
	cost        time.Duration // how long it took
}

// event notes that something may have changed.
func (p *pace) event(now time.Time) {
	if p.first.IsZero() {
		p.first = now
	}
	p.last = now
}

// looked notes a look, and whether it saw something else than the one before.
// It says whether the content is at rest.
func (p *pace) looked(start, end time.Time, moved bool) bool {
	quiet := start.Sub(p.steady)
	if moved {
		p.steady, quiet = end, 0
	}
	p.first, p.last = time.Time{}, time.Time{}
	p.ended, p.cost = end, end.Sub(start)
	if !p.moving {
		p.began = start
	}
	p.moving = quiet < p.debounce
	return !p.moving
}

// next says when to look; the zero time is never.
func (p *pace) next() time.Time {
	if p.first.IsZero() {
		if p.moving {
			return p.steady.Add(p.debounce)
		}
		return time.Time{}
	}
	soon := p.first.Add(settle)
	if thrifty := p.ended.Add(thrift * p.cost); thrifty.After(soon) {
		soon = thrifty
	}
	if quiet := p.last.Add(max(p.debounce, settle)); quiet.Before(soon) {
		return quiet
	}
	return soon
}

// alarm is a timer that is set again only when its time has changed: most
// events don't change it.
type alarm struct {
	timer *time.Timer
	set   time.Time
}

// at sets the alarm, or with the zero time takes it back.
func (a *alarm) at(t time.Time) {
	if t.Equal(a.set) {
		return
	}
	a.set = t
	if t.IsZero() {
		a.timer.Stop()
		return
	}
	if a.timer == nil {
		a.timer = time.NewTimer(time.Until(t))
		return
	}
	a.timer.Reset(time.Until(t))
}

func (a *alarm) rings() <-chan time.Time {
	if a.timer == nil {
		return nil
	}
	return a.timer.C
}

func (a *alarm) stop() {
	if a.timer != nil {
		a.timer.Stop()
	}
}
