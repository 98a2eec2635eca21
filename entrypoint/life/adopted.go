package life

import (
	"context"

	"github.com/stablehand/stablehand/entrypoint/status"
)

// Adopted is a running gunicorn that a life begins with in place of a command: an
// earlier stablehand has started it, and was killed.
type Adopted struct {
	Generation            // that is to serve
	Content    Content    // of what is watched, that it is known to have read; zero if nobody knows
	Retiring   Generation // the old one that it replaces, and that was told to go; nil if there is none. With a listener it may have to be told still
}

// adopt begins with what was adopted.
func (l *Life) adopt(a *Adopted) {
	l.numbered = 1
	if a.Retiring != nil {
		l.retiring, l.numbered = newGeneration(a.Retiring, 1), 2
		l.retiring.told.Store(a.Retiring.Listener() == nil)
	}
	l.successor = newGeneration(a.Generation, l.numbered)
	l.successor.steered.Store(a.Listener() != nil)
	l.successor.reached.Store(a.Listener() != nil)
	l.successor.content = a.Content
}

// inherits is the successor of a master that has ended before it was found ready,
// if there is one, for the task: an earlier stablehand has asked for it.
func (l *Life) inherits(old *generation) *generation {
	if !dead(old) {
		return nil
	}
	successor := old.Successor()
	if successor == nil {
		return nil
	}
	next := newGeneration(successor, old.number+1)
	l.note(func() {
		l.retiring, l.numbered = old, next.number
		l.came(next)
		l.log.Warn("the adopted master has ended: its successor inherits as soon as it is ready",
			"generation", old.number, "pid", old.PID(), "reason", old.Ended(), l.servesNow())
		l.log.Info("successor found", "generation", next.number, "pid", next.PID())
	})
	return next
}

// goOn does, once the first generation serves, what an earlier stablehand has left
// to be done.
func (l *Life) goOn(first *generation, successor Generation) {
	switch {
	case l.stopping && successor != nil:
		l.numbered++
		l.came(newGeneration(successor, l.numbered))
		return
	case l.stopping:
		return
	case l.retiring != nil && l.retiring.Listener() != nil:
		l.beginDrain(l.retiring, first)
	case l.retiring != nil:
		l.beginRetiring()
	case successor != nil:
		l.request("a successor is there already", 0)
		l.beginHandoff() // at once: should the master end before, there is one that inherits
		return
	}
	const unknown = "nobody knows what was read by the gunicorn that was adopted"
	switch {
	case l.command != nil:
	case l.world.Starter != nil: // nor with which environment it was begun
		l.request(unknown, 0)
	case !l.settings.Watched || l.disk == (Content{}) || first.content == l.disk: // what cannot be read yet is a change when it can
	case first.content == (Content{}):
		l.request(unknown, 0)
	default:
		l.request("content changed while no stablehand ran", 0)
	}
}

// beginRetiring begins the task that brings a handoff to its end which an earlier
// stablehand has decided.
func (l *Life) beginRetiring() {
	old, next := l.retiring, l.serving
	l.begin(status.Retire, func(ctx context.Context) func() {
		_ = l.seeOff(ctx, old, next) // the loop sees what ends
		return func() {}
	})
}

// keep has the next stablehand know what serves, and what that has read, should
// this one be killed.
func (l *Life) keep() { l.world.Host.Keep(l.serving.Generation, l.serving.content) }
