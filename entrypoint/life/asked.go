package life

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/stablehand/stablehand/entrypoint/status"
)

// ErrStopping is the error of asking for a handoff that will not come.
var ErrStopping = errStopping

// totals count what the loop has seen.
type totals struct {
	handoffs map[string]int                    // by outcome
	steps    map[status.Step]*status.Histogram // how long they took
}

func newTotals() totals {
	t := totals{handoffs: map[string]int{}, steps: map[status.Step]*status.Histogram{}}
	for _, outcome := range status.Outcomes {
		t.handoffs[outcome] = 0
	}
	for _, step := range status.HandoffSteps {
		t.steps[step] = status.NewHistogram()
	}
	return t
}

// ask has the loop run f, and waits for it: for who asks, from any goroutine.
func (l *Life) ask(ctx context.Context, f func()) error {
	ran := make(chan struct{})
	select {
	case l.notes <- func() { f(); close(ran) }:
		<-ran
		return nil
	case <-l.ended:
		return errStopping
	case <-ctx.Done():
		return errors.New("the loop does not turn")
	}
}

// Status is how things stand, as far as a life knows. The workers are looked at
// by whoever asks, and not by the loop.
func (l *Life) Status(ctx context.Context) (status.Status, error) {
	var s status.Status
	var there []*generation
	l.lookFor(ctx)
	if err := l.ask(ctx, func() { s, there = l.status(), l.generations() }); err != nil {
		return s, err
	}
	for _, g := range there {
		for _, shown := range []*status.Generation{s.Serving, s.Successor, s.Retiring} {
			if shown != nil && shown.Number == g.number {
				shown.Workers = g.Workers()
			}
		}
		if l.world.Memory != nil && s.Serving != nil && s.Serving.Number == g.number {
			s.Memory = l.world.Memory.Seen(g.Generation)
		}
	}
	return s, nil
}

// lookFor has strays looked for, and waits a while for what is found: for who asks.
func (l *Life) lookFor(ctx context.Context) {
	var over <-chan struct{}
	var patience <-chan time.Time
	if l.ask(ctx, func() { over, patience = l.lookNow() }) != nil || over == nil {
		return
	}
	select {
	case <-over:
	case <-patience:
	case <-ctx.Done():
	case <-l.ended:
	}
}

// status is what the loop knows.
func (l *Life) status() status.Status {
	s := status.Status{
		Started: l.started, Phase: l.phase(), LastHandoff: l.last,
		Strays:  slices.Clone(l.strays.known),
		Serving: l.serving.shown(), Successor: l.successor.shown(), Retiring: l.retiring.shown(),
	}
	if s.Successor != nil {
		s.Successor.Probe = l.step.answers
	}
	if s.Retiring != nil && l.drain != nil && !l.drain.told.Load() {
		s.Retiring.Draining, s.Retiring.Connections = true, l.drain.held
	}
	if l.now != nil {
		h := l.standsNow()
		s.Handoff = &h
	}
	if l.next != nil {
		s.Next = &status.Next{Reason: l.next.why(), At: l.next.when()}
	}
	if in, known := l.inSync(); known && (!in || len(l.strays.known) == 0) { // of those nobody knows
		s.InSync = &in
	}
	s.Totals.Handoffs = maps.Clone(l.counts.handoffs)
	s.Totals.Steps = make(map[status.Step]*status.Histogram)
	for step, h := range l.counts.steps {
		s.Totals.Steps[step] = h.Clone()
	}
	return s
}

func (l *Life) phase() string {
	switch {
	case l.stopping:
		return status.Stopping
	case l.serving == nil:
		return status.Booting
	}
	return status.Serving
}

// shown is a generation as it is shown, without its workers; nil if there is
// none that lives.
func (g *generation) shown() *status.Generation {
	if g == nil || dead(g) {
		return nil
	}
	return &status.Generation{Number: g.number, PID: g.PID(), Started: g.seen, Since: g.since}
}

// Reload asks for a handoff. The channel yields it as it moves on, the newest if
// it is read slowly, and is closed after the one that is over. When ctx ends
// before the handoff begins it is not asked for any more.
func (l *Life) Reload(ctx context.Context) (<-chan status.Handoff, error) {
	f := make(follower, 1)
	refused := error(nil)
	err := l.ask(ctx, func() {
		if refused = l.refuses(); refused != nil {
			return
		}
		f.tell(status.Handoff{Step: status.Wait, Since: time.Now(), Reason: "reload", WaitsFor: l.task()})
		l.follow(f)
		l.settle()
	})
	if err = errors.Join(err, refused); err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, func() {
		_ = l.ask(context.Background(), func() { l.unfollow(f) }) // fails where the life is over, and its followers gone
	})
	return f, nil
}

// ReloadSoon asks for a handoff on behalf of somebody who does not wait for it.
func (l *Life) ReloadSoon(ctx context.Context) error {
	refused := error(nil)
	err := l.ask(ctx, func() {
		if refused = l.refuses(); refused == nil {
			l.request("reload", 0)
			l.settle()
		}
	})
	return errors.Join(err, refused)
}

// refuses says why a handoff that is asked for now will not come, if it will not.
func (l *Life) refuses() error {
	switch {
	case l.stopping:
		return ErrStopping
	case l.noGunicorn:
		return errNoGunicorn
	}
	if l.next == nil { // else it makes no difference, and many may ask
		l.log.Info("handoff asked for", "by", "reload")
	}
	return nil
}

// task is the task that runs, and ends before another handoff can begin; empty
// if there is none.
func (l *Life) task() string {
	switch {
	case l.now != nil:
		return fmt.Sprintf("the handoff to generation %d", l.now.Generation)
	case l.cancel != nil && l.serving != nil, l.drain != nil:
		return "the old generation"
	case l.cancel != nil:
		return "the boot"
	}
	return ""
}
