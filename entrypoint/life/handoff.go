package life

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/stablehand/stablehand/entrypoint/status"
)

const (
	// retireTimeout is how long an old generation may take to finish. gunicorn
	// itself kills its workers after its graceful_timeout, which may be long on
	// purpose; so this is only for a master that hangs.
	retireTimeout = time.Hour

	// spentFor is how long an old master may live on when nothing is left that it
	// could finish, as where a thread keeps Python from ending.
	spentFor = 5 * time.Second

	// noteEvery is how often an old generation that finishes is looked at, for what
	// it starts meanwhile and leaves behind.
	noteEvery = time.Second

	// promoteTimeout is how long a master may take to see that its parent has
	// gone, which it looks for once a second. It serves all the while.
	promoteTimeout = 10 * time.Second

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
	old, r := l.serving, l.next
	l.next = nil
	l.numbered++
	l.now = &underway{
		Handoff: status.Handoff{Generation: l.numbered, From: old.number, Reason: r.why(), Began: time.Now()},
		before:  l.moves(), followers: r.followers,
	}
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

// handOff replaces the serving generation by a new one. When it returns an
// error before the old generation was told to retire, a rolledBack, nothing is
// left of the successor and the old one was not touched. The end of ctx rolls
// back, too; once the old one retires there is no way back.
func (l *Life) handOff(ctx context.Context, old *generation, number int) error {
	begun := time.Now()
	warming, cancel := l.warming(ctx)
	defer cancel()
	hint := old.Workers().All

	spawned, ours, err := old.Spawn(warming)
	if err != nil {
		return rolledBack{err}
	}
	next := newGeneration(spawned, number)
	l.note(func() { l.spawned(next, ours, hint) })
	l.did("spawned", next)

	l.enter(status.Warm)
	err = next.Ready(warming, hint, l.workers)
	if err != nil && !inherits(old, next) {
		return l.rollBack(old, next, err)
	}
	if err == nil {
		l.did("warmed", next)
	}
	if err := l.warmed(next, time.Since(begun)); err != nil {
		return l.rollBack(old, next, err)
	}

	l.enter(status.Soak)
	err = next.Soak(ctx, l.settings.Soak)
	if err != nil && !inherits(old, next) {
		return l.rollBack(old, next, err)
	}
	if err == nil && l.settings.Soak > 0 {
		l.did("soaked", next)
	}

	l.enter(status.Retire)
	if err := l.commit(ctx, old, next); err != nil {
		return l.rollBack(old, next, err)
	}
	return l.seeOff(ctx, old, next)
}

// inherits says whether a successor is all that there is, and answers: what becomes of
// some of its workers, of its soak, or of the wish for it, is of no matter any more.
func inherits(old, next *generation) bool {
	return dead(old) && !dead(next) && next.Workers().Ready > 0
}

// seeOff has the old generation retire, and waits until its successor has been
// promoted.
func (l *Life) seeOff(ctx context.Context, old, next *generation) error {
	if err := l.retire(old, next); err != nil {
		return err
	}
	l.did("retired", old)

	l.enter(status.Promote)
	promoting, cancel := context.WithTimeout(ctx, promoteTimeout)
	defer cancel()
	err := next.Promoted(promoting)
	if ctx.Err() != nil {
		return nil // it was all but promoted when the stop came
	}
	if dead(next) {
		return err
	}
	if err == nil {
		l.did("promoted", next)
	}
	return nil
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
	l.now.successor = next
	next.ours, next.before = ours, l.now.before
	l.step.most = hint
}

// warmed notes, for a task, that a generation is ready, and what it has read. The
// error is that it has ended meanwhile.
func (l *Life) warmed(g *generation, took time.Duration) error {
	l.note(func() {
		g.took = took
		l.recurs.ready = time.Now()
	})
	l.read(g)
	if dead(g) {
		return g.Ended()
	}
	return nil
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
	grace := time.Duration(0)
	if next.Workers().Ready > 0 {
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
			next.since, next.workers = time.Now(), l.step.workers.All
			l.deliverKept()
			l.serves(l.now.Began)
			l.keep()
			l.readAgain(next)
		}
	})
	return err
}

// retire has the old generation finish what it holds and end, and sees to it
// that nothing is left of it.
func (l *Life) retire(old, next *generation) error {
	old.Note()
	l.tell(old)
	ctx, cancel := context.WithTimeout(context.Background(), retireTimeout)
	defer cancel()
	lost := next.Done()
	begun, spent := time.Now(), time.Time{}
	for !dead(old) && ctx.Err() == nil && (spent.IsZero() || time.Since(spent) < spentFor) {
		select {
		case <-old.Done():
		case <-ctx.Done():
		case <-time.After(noteEvery):
			old.Note()
			if !old.Spent() {
				spent = time.Time{}
			} else if spent.IsZero() {
				spent = time.Now()
			}
		case <-lost:
			lost = nil
			if !l.told() {
				return fmt.Errorf("the successor ended while the old generation retired: %w", next.Ended())
			}
		}
	}
	if !dead(old) {
		l.note(func() { l.sayKills(old, since(begun), !spent.IsZero()) })
	}
	ctx, cancel = context.WithTimeout(context.Background(), endTimeout)
	defer cancel()
	if err := old.Clear(ctx, leaveGrace); err != nil {
		l.note(func() {
			l.log.Error("cannot end the old generation", "generation", old.number, "pid", old.PID(), "reason", err, l.servesNow())
		})
	}
	l.note(func() { l.retiring = nil })
	return nil
}

// sayKills says that an old generation has to be killed.
func (l *Life) sayKills(old *generation, took time.Duration, spent bool) {
	attrs := []any{"generation", old.number, "pid", old.PID()}
	if spent {
		attrs = append(attrs, "reason", "its master has no workers and no sockets any more, and goes on")
	}
	attrs = append(attrs, "took", took, l.servesNow())
	if spent {
		attrs = append(attrs, toDo("look for a thread that the configuration or the preloaded application starts: Python waits for each that is no daemon")...)
	}
	l.log.Warn("the old generation does not end: killing it", attrs...)
}
