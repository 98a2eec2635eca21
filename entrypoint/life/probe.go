package life

import (
	"context"
	"errors"
	"time"

	"github.com/stablehand/stablehand/entrypoint/status"
)

// bringUp waits until a successor is ready: its workers have come up, and it answers as it
// should. What it fails in is no error where it is all that there is.
func (l *Life) bringUp(ctx context.Context, old, next *generation, hint int, begun time.Time) error {
	l.enter(status.Warm)
	err := l.awaitReady(ctx, old, next, hint)
	if err != nil && !inherits(old, next) {
		return err
	}
	l.isReady(next, time.Since(begun))
	if err == nil {
		l.did("warmed", next)
	}
	if err := l.recordRead(next); err != nil || l.world.Prober == nil {
		return err
	}
	l.enter(status.Probe)
	watch := func(ctx context.Context) error { return next.Soak(ctx, l.settings.ReadyTimeout) }
	err = l.probe(ctx, next, old.Done(), watch)
	if err != nil && !inherits(old, next) {
		return err
	}
	if err == nil {
		l.did("probed", next)
	} else {
		l.note(func() { l.sayUnanswered(next) })
	}
	l.isReady(next, time.Since(begun))
	return nil
}

// awaitReady waits until the workers of a successor are ready, unless the old generation
// starves meanwhile.
func (l *Life) awaitReady(ctx context.Context, old, next *generation, hint int) error {
	ctx, cancel := context.WithCancelCause(ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		cancel(old.starves(ctx))
	}()
	defer func() { cancel(nil); <-watched }()
	return next.Ready(ctx, hint, l.workers)
}

// sayUnanswered says that a generation serves since nothing else does.
func (l *Life) sayUnanswered(g *generation) {
	answers := l.step.answers
	if answers == "" {
		answers = "no answer yet"
	}
	l.log.Warn("the successor inherits before it has answered its probe", "generation", g.number, "pid", g.PID(),
		"reason", "probe: "+answers, l.servesNow())
}

// warm waits until generation 1 is ready. One that was adopted is not asked anything: it
// serves, or nothing does. If it has a worker that is ready it has been so before: what
// has become of others since does not make it less.
func (l *Life) warm(ctx context.Context, first *generation) error {
	if w := first.Workers(); l.command == nil && w.Ready > 0 && !dead(first) {
		l.workers(w)
		l.isReady(first, time.Since(first.seen))
		return l.recordRead(first)
	}
	warming, cancel := l.warming(ctx)
	defer cancel()
	if err := first.Ready(warming, 0, l.workers); err != nil {
		return err
	}
	l.isReady(first, time.Since(first.seen))
	if err := l.recordRead(first); err != nil || l.world.Prober == nil || l.command == nil {
		return err
	}
	l.enter(status.Probe)
	err := l.probe(warming, first, nil, func(ctx context.Context) error {
		select {
		case <-first.Done():
			return first.Ended()
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	})
	if err == nil {
		l.did("probed", first)
		l.isReady(first, time.Since(first.seen))
	}
	return err
}

// errNeeded is why a successor is not asked any more.
var errNeeded = errors.New("nothing else serves")

// probe asks a generation, for a task, until it answers as it should. It ends with watch,
// which looks on as long as its context allows, and as soon as needed is closed: what
// nothing can be rolled back to serves as it is.
func (l *Life) probe(ctx context.Context, g *generation, needed <-chan struct{}, watch func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	watched := make(chan error, 1)
	go func() {
		err := watch(ctx)
		cancel(err)
		watched <- err
	}()
	go func() {
		select {
		case <-needed:
			cancel(errNeeded)
		case <-ctx.Done():
		}
	}()
	err := l.world.Prober.Probe(ctx, g.Generation, l.answers)
	over := context.Cause(ctx)
	cancel(nil)
	switch lost := <-watched; {
	case over != nil && !errors.Is(over, errNotReady):
		return over
	case over == nil && lost != nil && !errors.Is(lost, context.Canceled):
		return lost
	}
	return err
}

// answers notes what has come of asking so far.
func (l *Life) answers(so string) {
	l.note(func() {
		l.step.answers = so
		l.tellFollowers()
		l.log.Debug("probe", "step", l.step.name, "reason", so)
	})
}
