package life

import (
	"context"
	"slices"
	"time"

	"github.com/stablehand/stablehand/entrypoint/status"
)

// No event tells of a gunicorn that somebody else has started below us. So it is
// looked for when somebody asks how things stand, as each probe does, and lookFirst
// after anything has happened to the generations, then ever more seldom: each pause is
// moreSeldom times the one before, so that in a year of rest it is done some ten times.
const (
	lookFirst  = time.Second
	moreSeldom = 4
)

// lookPatience is how long who asks how things stand waits for a look.
const lookPatience = 500 * time.Millisecond

// strays are the gunicorn masters that are no generation of ours, as far as the loop
// knows, and the looks for them.
type strays struct {
	known []status.Stray
	due   <-chan time.Time // fires when the next look is to be
	pause time.Duration    // before it
	look  *look            // under way; nil if none is
}

// look is one at the process table, beside the loop.
type look struct {
	begun time.Time
	over  chan struct{}
}

// lookSoon has the looks for strays begin anew.
func (l *Life) lookSoon() {
	l.strays.pause, l.strays.due = lookFirst, time.After(lookFirst)
}

// lookAround looks for strays, and says when it is to be done again.
func (l *Life) lookAround() {
	l.lookNow()
	l.strays.pause *= moreSeldom
	l.strays.due = time.After(l.strays.pause)
}

// lookNow begins a look, unless one is under way. While a task brings generations up
// it is not known who is a stray. It returns what ends a wait for it, if there is one
// to wait for.
func (l *Life) lookNow() (over <-chan struct{}, patience <-chan time.Time) {
	if l.strays.look == nil {
		if l.cancel != nil || l.serving == nil || l.stopping {
			return nil, nil
		}
		l.strays.look = &look{begun: time.Now(), over: make(chan struct{})}
		there, numbered, coming := l.there(), l.numbered, l.late.awaited()
		go func() {
			found, err := l.world.Host.Strays(there)
			l.note(func() {
				close(l.strays.look.over)
				l.strays.look = nil
				if l.cancel == nil && l.numbered == numbered && !l.stopping {
					l.strayed(found, err == nil, coming)
				}
			})
		}()
	}
	return l.strays.look.over, time.After(time.Until(l.strays.look.begun.Add(lookPatience)))
}

// strayed takes note of the strays that a look has found, which has seen all there
// are or not. A successor while a late one is awaited is that one.
func (l *Life) strayed(found []status.Stray, all, coming bool) {
	if coming {
		found = slices.DeleteFunc(found, func(s status.Stray) bool { return s.Is == status.StraySuccessor })
	}
	for _, stray := range found {
		if !among(l.strays.known, stray) {
			l.name(stray)
		}
	}
	if !all { // those that were not seen may be there
		for _, stray := range l.strays.known {
			if !among(found, stray) {
				found = append(found, stray)
			}
		}
	}
	l.strays.known = found
}

func among(list []status.Stray, stray status.Stray) bool {
	return slices.ContainsFunc(list, func(s status.Stray) bool { return s.PID == stray.PID })
}

// name says once that there is a stray, and what becomes of it.
func (l *Life) name(stray status.Stray) {
	attrs := []any{"pid", stray.PID, "words", stray.Words, l.servesNow()}
	switch stray.Is {
	case status.StraySuccessor:
		l.log.Warn("gunicorn has a successor that stablehand did not ask for: handing over to it",
			append(attrs, toDo("send HUP or USR2 to stablehand, not to gunicorn")...)...)
		l.request("a successor is there already", 0)
	case status.StrayInside:
		l.log.Warn("the application has started a gunicorn of its own: changes are not handed over to it, and the next handoff ends it", attrs...)
	case status.StrayBelow:
		l.log.Warn("another gunicorn runs below the one that is looked after: changes are not handed over to it, and the next handoff ends it",
			append(attrs, toDo("give each a stablehand of its own")...)...)
	default:
		l.log.Warn("another gunicorn runs beside the one that is looked after: changes are not handed over to it",
			append(attrs, toDo("give each a stablehand of its own")...)...)
	}
}

// lookForHeir has a task look for the successor that the serving master, which has
// ended, may have been asked for by somebody else: it inherits as one of ours would. One
// that came late and is being ended does not. It returns false where there is nothing to
// look for.
func (l *Life) lookForHeir() bool {
	if l.stopping || l.cancel != nil {
		return false
	}
	old, late := l.serving, l.late
	if late.awaited() {
		late.leave()
	}
	l.begin(status.Spawn, func(context.Context) func() {
		if late != nil {
			<-late.done
		}
		heir := old.Successor()
		return func() {
			switch {
			case l.stopping && heir != nil:
				l.numbered++
				l.came(newGeneration(heir, l.numbered))
			case heir != nil:
				l.log.Warn("the serving master has ended: the successor that stablehand did not ask for inherits as soon as it is ready",
					"generation", old.number, "pid", old.PID(), "reason", old.Exit(), l.servesNow())
				l.request("a successor is there already", 0)
				l.beginHandoff()
			default:
				l.servingEnded()
			}
		}
	})
	return true
}

// late is the wait for the successor of a handoff that was rolled back, which may still
// come up where gunicorn was asked for it.
type late struct {
	cancel  context.CancelFunc
	done    chan struct{}
	came    *generation // while it is being ended; the loop's, as all below
	leaving bool        // it was told to end
}

// awaitLate waits, beside the loop, for the successor of a handoff that was rolled
// back, and ends it.
func (l *Life) awaitLate(old *generation, number int) {
	ctx, cancel := context.WithCancel(l.living)
	w := &late{cancel: cancel, done: make(chan struct{})}
	l.late = w
	begun := time.Now()
	go func() {
		defer close(w.done)
		defer cancel()
		spawned, err := old.Late(ctx)
		if err != nil || spawned == nil {
			return // what ends the wait is seen to by who ends it
		}
		next := newGeneration(spawned, number)
		took := since(begun)
		l.note(func() { w.came = next })
		_ = l.rollBack(old, next, nil)
		l.note(func() {
			w.came = nil
			if !dead(next) {
				return // as all else, it is ended by the end of the life
			}
			l.log.Warn("a successor came up only after its handoff was rolled back, and was ended",
				append([]any{"generation", number, "pid", next.PID(), "reason", "gunicorn did not take USR2 before", "took", took, l.servesNow()},
					toDo("see what keeps gunicorn's master from running: a stop, a debugger, a hook, a lack of processor time")...)...)
		})
	}()
}

// awaited says whether a late successor may be there.
func (w *late) awaited() bool {
	if w == nil {
		return false
	}
	select {
	case <-w.done:
		return false
	default:
		return true
	}
}

// end is closed when the master of a late successor ends, and nil where that is no news.
func (w *late) end() <-chan struct{} {
	if w == nil {
		return nil
	}
	return w.came.end()
}

// leave ends the wait: gunicorn is to be asked for a successor anew, when nothing is
// left of one that has come.
func (w *late) leave() {
	w.leaving = true
	w.cancel()
}

// left is closed when a wait that was to end is over, and nil where that is no news.
func (w *late) left() <-chan struct{} {
	if w == nil || !w.leaving {
		return nil
	}
	return w.done
}
