package entrypoint

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stablehand/stablehand/entrypoint/control"
	"github.com/stablehand/stablehand/entrypoint/watch"
)

// handing is the handoff under way.
type handing struct {
	control.Handoff               // but for its present step, which is the loop's
	content         watch.Content // of what is watched, when it began
	foreign         bool          // somebody else has started the successor, before, so that nobody knows what it has read
	followers       []follower
}

func newHanding(from, to int, w *want) *handing {
	return &handing{
		Handoff:   control.Handoff{Generation: to, From: from, Reason: w.reason, Began: time.Now()},
		followers: w.followers,
	}
}

// follower is somebody who has asked for a handoff and is told how it goes. It
// holds the newest state only: who reads slowly does not hold anybody up.
type follower chan control.Handoff

func (f follower) tell(h control.Handoff) {
	select {
	case <-f: // an older one
	default:
	}
	f <- h
}

// handoffNow is how the handoff under way stands.
func (l *loop) handoffNow() control.Handoff {
	h := l.now.Handoff
	h.Step, h.Since = l.step.name, l.step.since
	h.Steps = slices.Clone(h.Steps)
	h.Successor = workers(l.step.workers)
	return h
}

// tell tells the followers of the handoff under way how it stands.
func (l *loop) tell() {
	if l.now == nil {
		return
	}
	for _, f := range l.now.followers {
		f.tell(l.handoffNow())
	}
}

// handedOff takes note of how a handoff ended.
func (l *loop) handedOff(err error) {
	h, ended := l.now, l.handoffNow()
	took := since(h.Began)
	ended.Outcome, ended.Took = l.outcome(err), seconds(took)
	attrs := append([]any{"generation", h.Generation, "step", l.step.name}, append(l.why(err), "took", took)...)
	switch ended.Outcome {
	case control.HandedOff:
		l.pause = 0
		l.log.Info("handed off", "generation", h.Generation, "pid", l.serving.PID(), "took", took, l.servesNow())
		l.notifyReady(l.standing())
		if h.foreign && !l.stopping {
			l.order("the successor was there before it was asked for", h.followers...)
			h.followers = nil
		}
	case control.Stopped:
		l.log.Info("rolled back", append(attrs, l.servesNow())...)
	case control.Lost:
		l.log.Error("the handoff failed, and nothing serves", append(append(attrs, l.servesNow()), toDo(advice(err))...)...)
	case control.RolledBack:
		pause, again := l.retry()
		ended.Retry = seconds(pause)
		do := advice(err)
		if again {
			attrs = append(attrs, "retry", pause.Round(time.Millisecond))
		} else {
			do = strings.TrimPrefix(do+"; ", "; ") + "it is not tried again by itself: change the content or send HUP"
		}
		l.log.Error("rolled back", append(append(attrs, l.servesNow()), toDo(do)...)...)
		l.notifyReady(fmt.Sprintf("%s; generation %d was rolled back in step %s: %s", l.standing(), h.Generation, l.step.name, reasons(err)))
	}
	if err != nil {
		ended.Failure = err.Error()
	}
	l.counts.handoffs[ended.Outcome]++
	l.now, l.last = nil, &ended
	for _, f := range h.followers {
		f.tell(ended)
		close(f)
	}
	if ended.Outcome == control.HandedOff && l.serving.ended {
		l.servingEnded() // which has waited for the handoff's end
	}
}

// outcome is what became of a handoff that ended with err.
func (l *loop) outcome(err error) string {
	switch {
	case err == nil:
		return control.HandedOff
	case !errors.As(err, new(rolledBack)):
		return control.Lost
	case l.stopping:
		return control.Stopped
	case l.serving.Dead():
		return control.Lost
	}
	return control.RolledBack
}
