package entrypoint

import (
	"math/rand/v2"
	"strings"
	"time"

	"github.com/stablehand/stablehand/entrypoint/control"
	"github.com/stablehand/stablehand/entrypoint/watch"
)

// want is a handoff to come.
type want struct {
	reason    string
	at        time.Time
	followers []follower
}

// changed takes note of changed content. A change is tried at once even where
// the one before it has failed. One that brings back what the serving generation
// was started with is tried, too: workers that were replaced meanwhile may have
// read something else.
func (l *loop) changed(change watch.Change) {
	l.disk, l.moved = change.Content, true
	l.log.Info("content changed", "paths", strings.Join(change.Paths, ","))
	l.pause = 0
	delay := time.Duration(0)
	if l.config.Jitter > 0 {
		delay = rand.N(l.config.Jitter)
		l.log.Info("waiting before the handoff", "jitter", delay.Round(time.Millisecond))
	}
	l.want(want{reason: "content changed", at: time.Now().Add(delay)})
}

// inSync says whether the serving generation is known to have been started with
// the watched content as it is now.
func (l *loop) inSync() bool {
	return l.serving != nil && l.disk != watch.Content{} && l.serving.content == l.disk
}

// order asks for a handoff now.
func (l *loop) order(reason string, followers ...follower) {
	l.want(want{reason: reason, at: time.Now(), followers: followers})
}

// want asks for a handoff, as soon as serving and no other task allows. Of
// several wants one handoff comes, at the earliest of their times.
func (l *loop) want(w want) {
	if l.stopping {
		l.log.Info("no handoff: stopping", "reason", w.reason)
		return
	}
	if was := l.wanted; was != nil {
		if was.at.Before(w.at) {
			w.at = was.at
		}
		w.followers = append(was.followers, w.followers...)
	}
	l.wanted = &w
}

// unwant takes back whatever handoff is wanted: none will come any more.
func (l *loop) unwant() {
	if l.wanted == nil {
		return
	}
	for _, f := range l.wanted.followers {
		f.tell(control.Handoff{Reason: l.wanted.reason, Outcome: control.Stopped, Failure: errStopping.Error()})
		close(f)
	}
	l.wanted = nil
}

// due fires when the handoff that is wanted is to begin.
func (l *loop) due() <-chan time.Time {
	if l.wanted == nil || l.cancel != nil || l.serving == nil || l.serving.ended {
		return nil
	}
	return time.After(time.Until(l.wanted.at))
}

// retry plans the next try of the handoff that has just failed, unless a change
// or an order has come meanwhile. It returns the pause until the next handoff,
// and whether there will be one at all.
func (l *loop) retry() (pause time.Duration, again bool) {
	switch {
	case l.wanted != nil:
		return max(time.Until(l.wanted.at), 0), true
	case l.config.Retry == 0:
		return 0, false
	}
	l.pause = min(max(2*l.pause, l.config.Retry), max(maxRetry, l.config.Retry))
	l.want(want{reason: "retry", at: time.Now().Add(l.pause)})
	return l.pause, true
}
