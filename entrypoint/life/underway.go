package life

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stablehand/stablehand/entrypoint/status"
)

// underway is the handoff under way.
type underway struct {
	status.Handoff           // but for its present step, which is the loop's
	before         uint64    // how often what is watched had moved when it began
	spawns         time.Time // when there was room for it
	givenUp        bool      // it is being rolled back
	followers      []follower
	successor      *generation // nil until it is there
	disk           Content     // what was watched held this when it began
}

// standsNow is how the handoff under way stands.
func (l *Life) standsNow() status.Handoff {
	h := l.now.Handoff
	h.Step, h.Since = l.step.name, l.step.since
	h.Steps = slices.Clone(h.Steps)
	h.Successor, h.Probe = l.step.workers, l.step.answers
	return h
}

// tellFollowers tells those of the handoff under way how it stands.
func (l *Life) tellFollowers() {
	if l.now == nil {
		return
	}
	for _, f := range l.now.followers {
		f.tell(l.standsNow())
	}
}

// abandon tells those who follow a handoff that its task has not come to an end,
// and is left to itself.
func (l *Life) abandon() {
	if l.now == nil {
		return
	}
	h := l.standsNow()
	h.Outcome, h.Failure, h.Took = status.Stopped, errStopping.Error(), seconds(since(h.Began))
	for _, f := range l.now.followers {
		f.end(h)
	}
	l.now.followers = nil
}

// handedOff takes note of how a handoff ended.
func (l *Life) handedOff(err error) {
	switch {
	case l.stopping || !toldBySomebody(err):
	case (l.step.name == status.Warm || l.step.name == status.Spawn && l.world.Starter != nil) && l.step.workers.All == 0:
		err = fmt.Errorf("%w: %w", err, errExits)
	default:
		err = fmt.Errorf("%w: told to end by somebody else", err)
	}
	h, ended := l.now, l.standsNow()
	l.recurs.ends()
	took := since(h.Began)
	ended.Outcome, ended.Took = l.outcome(err), seconds(took)
	attrs := append([]any{"generation", h.Generation, "step", l.step.name}, append(l.why(err), "took", took)...)
	switch ended.Outcome {
	case status.HandedOff:
		l.pause, l.tooShort = 0, 0
		l.log.Info("handed off", "generation", h.Generation, "pid", l.serving.PID(), "took", took, l.servesNow())
		l.tellReady(l.standing())
		if l.serving.Listener() != nil {
			l.beginDrain(l.retiring, l.serving)
		}
		if !l.serving.ours && !l.stopping {
			l.request("the successor was there before it was asked for", 0, h.followers...)
			h.followers = nil
		}
	case status.Stopped:
		l.log.Info("rolled back", append(attrs, l.servesNow())...)
	case status.Lost:
		l.log.Error("the handoff failed, and nothing serves", append(append(attrs, l.servesNow()), toDo(l.adviseLost(err))...)...)
	case status.RolledBack:
		if way := (gaveWay{}); errors.As(err, &way) {
			l.tooShort = way.after
		}
		ended.Retry = l.sayRolledBack(err, attrs)
		l.awaitLate(l.serving, h.Generation)
		l.deliverKept()
		l.tellReady(fmt.Sprintf("%s; generation %d was rolled back in step %s: %s", l.standing(), h.Generation, l.step.name, reasons(err)))
	}
	if err != nil {
		ended.Failure = err.Error()
	}
	l.counts.handoffs[ended.Outcome]++
	l.now, l.last = nil, &ended
	l.lookSoon()
	for _, f := range h.followers {
		f.end(ended)
	}
	if ended.Outcome == status.HandedOff && l.serving.ended {
		l.servingEnded() // which has waited for the handoff's end
	}
}

// sayRolledBack says why, and in how many seconds the handoff is tried again.
func (l *Life) sayRolledBack(err error, attrs []any) (retry float64) {
	do := l.advise(err)
	pause, again := l.retry()
	if again {
		attrs = append(attrs, "retry", pause.Round(time.Millisecond))
	} else {
		do = strings.TrimPrefix(do+"; ", "; ") + "it is not tried again by itself: change the content or send HUP"
	}
	l.log.Error("rolled back", append(append(attrs, l.servesNow()), toDo(do)...)...)
	return seconds(pause)
}

// outcome is what became of a handoff that ended with err.
func (l *Life) outcome(err error) string {
	switch {
	case err == nil:
		return status.HandedOff
	case !errors.As(err, new(rolledBack)):
		return status.Lost
	case l.stopping:
		return status.Stopped
	case dead(l.serving):
		return status.Lost
	}
	return status.RolledBack
}

// standing is who serves, in words.
func (l *Life) standing() string {
	return fmt.Sprintf("Serving generation %d with %d workers", l.serving.number, l.serving.workers)
}

// tellReady tells the service manager that what it has waited for is there.
func (l *Life) tellReady(text string) {
	if !l.stopping {
		l.world.Teller.Ready(text)
	}
}

// tellManager tells of a handoff under way, in the step that it has come to. To
// systemd it is a reload, which ends with the next tellReady.
func (l *Life) tellManager() {
	if l.stopping {
		return
	}
	text := fmt.Sprintf("Handing off to generation %d (%s): %s", l.now.Generation, l.now.Reason, l.step.name)
	if len(l.now.Steps) > 0 {
		l.world.Teller.Status(text)
		return
	}
	l.world.Teller.Reloading(text)
}
