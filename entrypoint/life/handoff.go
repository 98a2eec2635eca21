package life

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/stablehand/stablehand/entrypoint/status"
)

const (
	// endTimeout is how long processes may outlive SIGKILL, as in a disk wait.
	endTimeout = 30 * time.Second

	// rollBackGrace is how long a successor that is given up may take to finish
	// requests, if some of its workers have accepted any: gunicorn's default
	// graceful_timeout.
	rollBackGrace = 30 * time.Second

	// leaveGrace is how long what gunicorn leaves behind may take to end by
	// itself, and then again once it got TERM: a script's last lines, say.
	leaveGrace = 2 * time.Second
)

// warming bounds how long a generation may take to get ready.
func (l *Life) warming(ctx context.Context) (context.Context, context.CancelFunc) {
	limit := l.settings.ReadyTimeout
	return context.WithTimeoutCause(ctx, limit, fmt.Errorf("%w in %v (READY_TIMEOUT)", errNotReady, limit))
}

// errNotReady is why a generation that is too slow is given up.
var errNotReady = errors.New("not ready")

// rolledBack is why a handoff was rolled back.
type rolledBack struct{ error }

func (r rolledBack) Unwrap() error { return r.error }

// beginHandoff begins the handoff that was requested.
func (l *Life) beginHandoff() {
	if l.late.awaited() {
		l.late.leave()
		return // until it is over
	}
	if l.drain != nil {
		l.drain.end()
		return // until it is over
	}
	old, r := l.serving, l.next
	l.next = nil
	l.numbered++
	l.now = &underway{
		Handoff: status.Handoff{Generation: l.numbered, From: old.number, Reason: r.why(), Began: time.Now()},
		before:  l.moves(), followers: r.followers,
	}
	l.now.spawns = l.now.Began
	l.now.disk = l.disk
	l.recurs.begins(l.now.Began)
	old.tried = true
	l.log.Info("handoff", "generation", l.numbered, "reason", l.now.Reason, "serving", old.number)
	number := l.numbered
	l.begin(status.Spawn, func(ctx context.Context) func() {
		err := l.handOff(ctx, old, number)
		return func() { l.handedOff(err) }
	})
}

// handOff replaces the serving generation by a new one, as soon as there is room for it.
// Where that fails, the serving one has all of its workers again.
func (l *Life) handOff(ctx context.Context, old *generation, number int) error {
	hint := max(old.Workers().All, l.regains(old))
	taken, err := l.makeRoom(ctx, old)
	if err == nil {
		err = l.replace(ctx, old, number, hint)
	}
	if taken > 0 && errors.As(err, new(rolledBack)) {
		l.giveBack(old, taken)
	}
	return err
}

// replace replaces the serving generation by a new one, which may have as many workers
// as hint says. When it returns an error before the old generation was told to retire, a rolledBack, nothing is
// left of the successor and the old one was not touched. The end of ctx rolls
// back, too; once the old one retires there is no way back.
func (l *Life) replace(ctx context.Context, old *generation, number, hint int) error {
	begun := time.Now()
	warming, cancel := l.warming(ctx)
	defer cancel()
	spawned, ours, err := l.spawn(warming, old)
	if err != nil {
		return rolledBack{err}
	}
	next := newGeneration(spawned, number)
	l.note(func() { l.spawned(next, ours, hint) })
	l.did("spawned", next)

	if err := l.bringUp(warming, old, next, hint, begun); err != nil {
		return l.rollBack(old, next, err)
	}

	if next.Listener() != nil {
		l.enter(status.Steer)
		err := next.steer()
		if err != nil && !inherits(old, next) {
			return l.rollBack(old, next, err)
		}
		if err == nil {
			l.did("steered", next)
		}
	}

	l.enter(status.Soak)
	err = next.Soak(ctx, l.settings.Soak)
	if err != nil && !inherits(old, next) {
		l.steerBack(old, next)
		if !inherits(old, next) { // the old one may have ended meanwhile
			return l.rollBack(old, next, err)
		}
	}
	if err == nil && l.settings.Soak > 0 {
		l.did("soaked", next)
	}

	if next.Listener() == nil {
		l.enter(status.Retire)
	}
	if err := l.commit(ctx, old, next); err != nil {
		return l.rollBack(old, next, err)
	}
	if next.Listener() == nil {
		return l.seeOff(ctx, old, next)
	}
	return nil // the rest is a drain's
}

// spawn brings up a successor: by the serving generation, or afresh.
func (l *Life) spawn(ctx context.Context, old *generation) (next Generation, ours bool, err error) {
	if l.world.Starter == nil {
		return old.Spawn(ctx)
	}
	next, err = l.world.Starter.Start(ctx)
	return next, true, err
}

// inherits says whether a successor is all that there is, and answers: what becomes of
// some of its workers, of its soak, or of the wish for it, is of no matter any more.
func inherits(old, next *generation) bool {
	return dead(old) && !dead(next) && next.Workers().Ready > 0
}

// came notes that a generation is there. A stop that came just before has not
// reached it.
func (l *Life) came(g *generation) {
	l.successor = g
	if l.stopping {
		l.tell(g)
	}
}

// spawned notes that the successor is there. One that somebody else has begun had
// been there for nobody knows how long, and has read nobody knows what.
func (l *Life) spawned(next *generation, ours bool, hint int) {
	l.came(next)
	if dead(l.serving) && next.Listener() != nil {
		l.bequeath() // its listener may not have been there yet
	}
	l.now.successor = next
	next.ours, next.before = ours, l.now.before
	if own := next.Listener(); own != nil && own.Shared() {
		next.reached.Store(true)
	}
	l.step.most = hint
}

// recordRead notes, for a task, what a generation has read whose workers are ready. The error
// is that it has ended meanwhile.
func (l *Life) recordRead(g *generation) error {
	l.read(g)
	if dead(g) {
		return g.Ended()
	}
	return nil
}

// isReady notes, for a task, that a generation is, as far as it has come.
func (l *Life) isReady(g *generation, took time.Duration) {
	l.note(func() {
		g.ready, g.took = true, took
		l.recurs.ready = time.Now()
	})
}

// did notes that the step is done, in the words of the log.
func (l *Life) did(what string, g *generation) {
	l.note(func() {
		took := since(l.step.since)
		l.log.Info(what, "generation", g.number, "pid", g.PID(), "took", took)
		if l.now == nil {
			return // somebody else had begun it
		}
		l.now.Steps = append(l.now.Steps, status.Done{Step: l.step.name, Took: seconds(took)})
		l.counts.steps[l.step.name].Observe(seconds(took))
	})
}

// rollBack ends the successor and all its processes. It does not return before
// they have gone, unless we stop, or nothing serves any more, and so end all that
// there is: a successor that lives on accepts requests, and gunicorn brings up no
// other.
func (l *Life) rollBack(old, next *generation, why error) error {
	l.note(func() {
		if l.now != nil { // else it comes late
			l.now.givenUp = true
		}
	})
	mayHold := next.Listener() == nil || next.reached.Load()
	l.steerBack(old, next)
	grace := time.Duration(0)
	if mayHold && next.Workers().Ready > 0 {
		grace = rollBackGrace
		next.told.Store(true)
	}
	for {
		ctx, cancel := context.WithTimeout(context.Background(), endTimeout+grace)
		err := next.End(ctx, grace)
		cancel()
		if err == nil || l.told() || dead(old) {
			break
		}
		grace = 0
		l.note(func() {
			l.log.Error("cannot end the successor: trying on", "generation", next.number, "pid", next.PID(), "reason", err, l.servesNow())
		})
	}
	old.Forget()
	if dead(next) {
		next.unbind()
	}
	l.note(func() { l.successor = nil })
	return rolledBack{why}
}

// told says whether we have been told to stop.
func (l *Life) told() (stopping bool) {
	l.note(func() { stopping = l.stopping })
	return stopping
}

// commit makes the successor the serving generation, unless it has just ended, or the
// old one serves still and we have been told to stop, or it was to give way.
func (l *Life) commit(ctx context.Context, old, next *generation) (err error) {
	l.note(func() {
		switch {
		case dead(next):
			err = next.Ended()
		case ctx.Err() != nil && !dead(old):
			err = context.Cause(ctx)
		default:
			l.serving, l.retiring, l.successor = next, old, nil
			next.since, next.workers, next.wants = time.Now(), l.step.workers.All, l.step.workers.All
			l.deliverKept()
			l.serves(l.now.Began)
			l.keep()
			l.readAgain(next)
		}
	})
	return err
}
