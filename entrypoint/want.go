package entrypoint

import (
	"math/rand/v2"
	"strings"
	"time"

	"github.com/stablehand/stablehand/entrypoint/watch"
)

// changed takes note of changed content. A change is tried at once even where
// the one before it has failed.
func (l *loop) changed(change watch.Change) {
	l.log.Info("content changed", "paths", strings.Join(change.Paths, ","))
	l.pause = 0
	delay := time.Duration(0)
	if l.config.Jitter > 0 {
		delay = rand.N(l.config.Jitter)
		l.log.Info("waiting before the handoff", "jitter", delay.Round(time.Millisecond))
	}
	l.want("content changed", delay)
}

// want asks for a handoff after a delay, as soon as serving and no other task
// allows. Of several wants one handoff comes, at the earliest of their times.
func (l *loop) want(reason string, delay time.Duration) {
	if l.stopping {
		l.log.Info("no handoff: stopping", "reason", reason)
		return
	}
	at := time.Now().Add(delay)
	if l.wanted != nil && l.wanted.at.Before(at) {
		at = l.wanted.at
	}
	l.wanted = &want{reason: reason, at: at}
}

// due fires when the handoff that is wanted is to begin.
func (l *loop) due() <-chan time.Time {
	if l.wanted == nil || l.cancel != nil || l.serving == nil || l.serving.ended {
		return nil
	}
	return time.After(time.Until(l.wanted.at))
}

// retry plans the next try of a failed handoff, unless a change or an order
// has come meanwhile. It returns the pause, 0 for none.
func (l *loop) retry() time.Duration {
	if l.config.Retry == 0 || l.wanted != nil {
		return 0
	}
	l.pause = min(max(2*l.pause, l.config.Retry), max(maxRetry, l.config.Retry))
	l.wanted = &want{reason: "retry", at: time.Now().Add(l.pause)}
	return l.pause
}
