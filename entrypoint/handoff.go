package entrypoint

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stablehand/stablehand/entrypoint/control"
	"github.com/stablehand/stablehand/entrypoint/gunicorn"
	"github.com/stablehand/stablehand/reaper"
)

const (
	// retireTimeout is how long an old generation may take to finish. gunicorn
	// itself kills its workers after its graceful_timeout, which may be long on
	// purpose; so this is only for a master that hangs.
	retireTimeout = time.Hour

	// promoteTimeout is how long a master may take to see that its parent has
	// gone, which it looks for once a second. It serves all the while.
	promoteTimeout = 10 * time.Second

	// endTimeout is how long processes may outlive SIGKILL, as in a disk wait.
	endTimeout = 30 * time.Second

	// rollBackGrace is how long a successor that is given up may take to finish
	// requests, if some of its workers have accepted any: gunicorn's default
	// graceful_timeout.
	rollBackGrace = 30 * time.Second
)

// warming bounds how long a generation may take to get ready.
func (l *loop) warming(ctx context.Context) (context.Context, context.CancelFunc) {
	limit := l.config.ReadyTimeout
	return context.WithTimeoutCause(ctx, limit, fmt.Errorf("%w in %v (READY_TIMEOUT)", errNotReady, limit))
}

// errNotReady is why a generation that is too slow is given up.
var errNotReady = errors.New("not ready")

// rolledBack is why a handoff was rolled back.
type rolledBack struct{ error }

func (r rolledBack) Unwrap() error { return r.error }

// beginHandoff begins the handoff that is wanted.
func (l *loop) beginHandoff() {
	old, want := l.serving, l.wanted
	l.wanted = nil
	l.numbered++
	l.now = newHanding(old.number, l.numbered, want)
	l.now.content = l.disk
	l.log.Info("handoff", "generation", l.numbered, "reason", want.reason, "serving", old.number)
	number := l.numbered
	l.begin("spawn", func(ctx context.Context) func() {
		err := l.handoff(ctx, old, number)
		return func() { l.handedOff(err) }
	})
}

// handoff replaces the serving generation by a new one. When it returns an
// error before the old generation was told to retire, a rolledBack, nothing is
// left of the successor and the old one was not touched. The end of ctx rolls
// back, too; once the old one retires there is no way back.
func (l *loop) handoff(ctx context.Context, old *generation, number int) error {
	warming, cancel := l.warming(ctx)
	defer cancel()
	hint := old.Workers().All

	master, ours, err := old.Spawn(warming)
	if err != nil {
		return rolledBack{err}
	}
	next := newGeneration(master, number)
	l.note(func() { l.successor, l.now.foreign = next, !ours })
	l.did("spawned", next)

	l.enter("warm")
	if err := next.Ready(warming, hint, l.workers); err != nil {
		return l.rollBack(old, next, err)
	}
	l.did("warmed", next)

	l.enter("soak")
	if err := next.Soak(ctx, l.config.Soak); err != nil {
		return l.rollBack(old, next, err)
	}
	if l.config.Soak > 0 {
		l.did("soaked", next)
	}

	l.enter("retire")
	if err := l.commit(old, next); err != nil {
		return l.rollBack(old, next, err)
	}
	if err := l.retire(old, next); err != nil {
		return err
	}
	l.did("retired", old)

	l.enter("promote")
	promoting, cancel := context.WithTimeout(ctx, promoteTimeout)
	defer cancel()
	err = next.Promoted(promoting)
	if ctx.Err() != nil {
		return nil // it was all but promoted when the stop came
	}
	if next.Dead() {
		return err
	}
	if err == nil {
		l.did("promoted", next)
	}
	return nil
}

// did notes that the step is done, in the words of the log.
func (l *loop) did(what string, g *generation) {
	l.note(func() {
		took := since(l.step.since)
		l.log.Info(what, "generation", g.number, "pid", g.PID(), "took", took)
		l.now.Steps = append(l.now.Steps, control.Step{Name: l.step.name, Took: seconds(took)})
		l.counts.steps[l.step.name].Observe(seconds(took))
	})
}

// rollBack ends the successor and all its processes.
func (l *loop) rollBack(old, next *generation, why error) error {
	ctx, cancel := context.WithTimeout(context.Background(), endTimeout+rollBackGrace)
	defer cancel()
	grace := time.Duration(0)
	if next.Workers().Ready > 0 {
		grace = rollBackGrace
	}
	if err := next.End(ctx, grace); err != nil {
		l.note(func() {
			l.log.Error("cannot end the successor", "generation", next.number, "pid", next.PID(), "reason", err, l.servesNow())
		})
	}
	old.Forget()
	l.note(func() { l.successor = nil })
	return rolledBack{why}
}

// told says whether we have been told to stop.
func (l *loop) told() (stopping bool) {
	l.note(func() { stopping = l.stopping })
	return stopping
}

// commit makes the successor the serving generation, unless it has just ended
// or we have been told to stop.
func (l *loop) commit(old, next *generation) (err error) {
	l.note(func() {
		switch {
		case l.stopping:
			err = errStopping
		case next.Dead():
			err = &gunicorn.ExitError{PID: next.PID(), Status: next.Status()}
		default:
			l.serving, l.retiring, l.successor = next, old, nil
			next.since = time.Now()
			if !l.moved && !l.now.foreign {
				next.content = l.now.content
			}
			l.serves(l.now.Began)
		}
	})
	return err
}

// retire has the old generation finish what it holds and end, and sees to it
// that nothing is left of it.
func (l *loop) retire(old, next *generation) error {
	old.Processes() // what it has now, for what it may leave behind
	old.Signal(unix.SIGTERM)
	ctx, cancel := context.WithTimeout(context.Background(), retireTimeout)
	defer cancel()
	lost := next.Done()
	for !old.Dead() && ctx.Err() == nil {
		select {
		case <-old.Done():
		case <-ctx.Done():
		case <-lost:
			lost = nil
			if !l.told() {
				return fmt.Errorf("the successor ended while the old generation retired: %w",
					&gunicorn.ExitError{PID: next.PID(), Status: next.Status()})
			}
		}
	}
	if !old.Dead() {
		l.note(func() {
			l.log.Warn("the old generation does not end: killing it", "generation", old.number, "pid", old.PID(),
				"took", retireTimeout, l.servesNow())
		})
	}
	ctx, cancel = context.WithTimeout(context.Background(), endTimeout)
	defer cancel()
	if err := reaper.Terminate(ctx, old.Processes, leaveGrace); err != nil {
		l.note(func() {
			l.log.Error("cannot end the old generation", "generation", old.number, "pid", old.PID(), "reason", err, l.servesNow())
		})
	}
	l.note(func() { l.retiring = nil })
	return nil
}
