package life

import (
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/stablehand/stablehand/entrypoint/status"
)

// maxRetry is where the pause between two tries of a failed handoff stops
// doubling.
const maxRetry = 5 * time.Minute

// requested is a handoff to come.
type requested struct {
	reason    string    // of the newest request that stands by itself; empty where none does
	at        time.Time // the earliest that any of those wants it
	followers []follower
	asked     time.Time // when the first follower asked
	until     time.Time // how long it waits for what is watched; zero where nobody has asked
	unsettled bool      // that is not known to be at rest, or was not told yet
}

// why is the reason that is told: of those whose time has come, if there are any.
func (r *requested) why() string {
	if r.reason == "" || len(r.followers) > 0 && r.at.After(time.Now()) {
		return "reload"
	}
	return r.reason
}

// when is the earliest time for it.
func (r *requested) when() time.Time {
	if len(r.followers) > 0 && (r.reason == "" || r.asked.Before(r.at)) {
		return r.asked
	}
	return r.at
}

// changed takes note of changed content. A change is tried at once even where
// the one before it has failed. One that brings back what the serving generation
// was started with is tried, too: workers that were replaced meanwhile may have
// read something else.
func (l *Life) changed(change Change) {
	l.disk, l.again = change.Content, 0
	l.log.Info("content changed", change.attrs()...)
	if l.noGunicorn {
		return
	}
	pause := l.recur(change)
	if pause == 0 {
		l.pause = 0
	}
	l.request("content changed", max(pause, l.jitter()))
	if l.next != nil {
		l.next.unsettled = false
	}
}

// attrs are those of its line in the log: the paths, and the files behind them where
// these are others.
func (c Change) attrs() []any {
	attrs := []any{"paths", strings.Join(c.Paths, ",")}
	if len(c.Files) > 0 && !slices.Equal(c.Files, c.Paths) {
		attrs = append(attrs, "files", strings.Join(c.Files, ","))
	}
	return attrs
}

// jitter is how long a handoff that nobody has asked for waits.
func (l *Life) jitter() time.Duration {
	if l.settings.Jitter == 0 || l.stopping {
		return 0
	}
	delay := rand.N(l.settings.Jitter)
	l.log.Info("waiting before the handoff", "jitter", delay.Round(time.Millisecond))
	return delay
}

// request asks for a handoff after a delay, as soon as serving and no other task
// allows. Of several requests one handoff comes, at the earliest of their times.
func (l *Life) request(reason string, delay time.Duration, followers ...follower) {
	if l.stopping {
		l.log.Info("no handoff: stopping", "reason", reason)
		return
	}
	at := time.Now().Add(delay)
	if l.next == nil {
		l.next = new(requested)
	}
	if l.next.reason == "" || at.Before(l.next.at) {
		l.next.at = at
	}
	l.next.reason = reason
	for _, f := range followers {
		l.follow(f)
	}
}

// follow asks for a handoff at once, on behalf of somebody who is told how it
// goes. It is no request any more when that one leaves before it begins.
func (l *Life) follow(f follower) {
	if l.next == nil {
		l.next = new(requested)
	}
	if len(l.next.followers) == 0 {
		l.next.asked = time.Now()
	}
	l.next.followers = append(l.next.followers, f)
}

// unfollow takes back what somebody has asked for who has gone.
func (l *Life) unfollow(f follower) {
	is := func(other follower) bool { return other == f }
	if l.now != nil {
		l.now.followers = slices.DeleteFunc(l.now.followers, is)
	}
	if l.next == nil || !slices.ContainsFunc(l.next.followers, is) {
		return
	}
	l.next.followers = slices.DeleteFunc(l.next.followers, is)
	if len(l.next.followers) == 0 && l.next.reason == "" {
		l.next = nil
		l.log.Info("handoff not asked for any more: who asked for it has gone")
		if l.serving != nil {
			l.readAgain(l.serving) // which was left to that
		}
	}
}

// withdraw takes back whatever handoff was requested: none will come, and why.
func (l *Life) withdraw(why error) {
	if l.next == nil {
		return
	}
	for _, f := range l.next.followers {
		f.end(status.Handoff{Reason: l.next.why(), Outcome: status.Stopped, Failure: why.Error()})
	}
	l.next = nil
}

// due fires when the handoff that was requested is to begin.
func (l *Life) due() <-chan time.Time {
	if l.next == nil || l.cancel != nil || l.serving == nil || l.serving.ended || l.late.left() != nil || l.drain.ending() {
		return nil
	}
	return time.After(max(time.Until(l.next.when()), time.Until(l.next.settled())))
}

// retry plans the next try of the handoff that has just failed, unless a change
// or an order has come meanwhile. It returns the pause until the next handoff,
// and whether there will be one at all.
func (l *Life) retry() (pause time.Duration, again bool) {
	switch {
	case l.next != nil:
		return max(time.Until(l.next.when()), 0), true
	case l.settings.Retry == 0:
		return 0, false
	}
	l.pause = min(max(2*l.pause, l.settings.Retry), max(maxRetry, l.settings.Retry))
	l.request("retry", l.pause)
	return l.pause, true
}

// follower is somebody who has asked for a handoff and is told how it goes. It
// holds the newest state only: who reads slowly does not hold anybody up.
type follower chan status.Handoff

func (f follower) tell(h status.Handoff) {
	select {
	case <-f: // an older one
	default:
	}
	f <- h
}

// end tells how it ended.
func (f follower) end(h status.Handoff) {
	f.tell(h)
	close(f)
}
