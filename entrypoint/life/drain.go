package life

import (
	"context"
	"time"

	"github.com/stablehand/stablehand/entrypoint/status"
)

// With listeners of its own a generation can finish what it holds while it gets nothing
// new. That may take long, as with websockets, and holds no change up: the handoff is
// over when it begins. The next one ends it.

const (
	// lookHeld is the pause between two looks at what a generation holds.
	lookHeld = 50 * time.Millisecond

	// emptyLooks is how many looks in a row have to find nothing: a connection that is
	// just being accepted is neither waiting nor held.
	emptyLooks = 2

	// drainLeast is how long a drain may go on when the next handoff ends it, unless
	// DRAIN is shorter: what waits to be accepted then, and handshakes under way.
	drainLeast = time.Second

	// acceptedWithin is how much longer than DRAIN it may go on while clients wait to be
	// accepted, whom TERM would reset: workers that take one request at a time may be
	// busy for longer than DRAIN. It is what gunicorn gives a request by default, by its
	// timeout; where none of them accepts for that long nobody ever may.
	acceptedWithin = 30 * time.Second
)

// drain is a generation that gets nothing new, and its end.
type drain struct {
	*generation
	begun   time.Time
	held    *int               // connections, as last seen; nil before the first look
	hurry   context.CancelFunc // has it end soon
	hurried bool               // the next handoff waits for it
}

// steer has new connections go to a generation; without a listener of its own it gets
// its share of them anyway.
func (g *generation) steer() error {
	listener := g.Listener()
	if listener == nil {
		return nil
	}
	if err := listener.Steer(); err != nil {
		return err
	}
	g.steered.Store(true)
	g.reached.Store(true)
	return nil
}

// startsAfresh says whether a handoff is about to start a successor that needs no old
// master.
func (l *Life) startsAfresh() bool {
	begins := l.step.name == status.Spawn || l.step.name == status.Room
	return l.now != nil && begins && l.serving.Listener() != nil
}

// bequeath has clients wait for the successor of a serving generation that has ended.
func (l *Life) bequeath() {
	go func(old, next *generation) {
		if next != nil {
			_ = next.steer() // the handoff says what is wrong
			return
		}
		_ = old.Listener().Yield() // as above
	}(l.serving, l.successor)
}

// steerBack has new connections go to the old generation again, and, for a task, the
// successor finish what it has got.
func (l *Life) steerBack(old, next *generation) {
	if !next.steered.Load() || dead(old) || old.told.Load() {
		return
	}
	if err := old.steer(); err != nil {
		l.note(func() {
			l.log.Error("cannot steer back to the old generation", "generation", old.number, "reason", reasons(err), l.servesNow())
		})
		return
	}
	next.steered.Store(false)
	l.note(func() { l.log.Info("steered back", "generation", old.number, "pid", old.PID(), l.servesNow()) })
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // no longer than it takes to accept what waits
	l.empties(ctx, &drain{generation: next, begun: time.Now()})
}

// unbind closes the listener of a generation that has ended.
func (g *generation) unbind() {
	if listener := g.Listener(); listener != nil {
		listener.Close()
	}
}

// release has the listener of a generation that is to end be closed with it.
func (g *generation) release() {
	if listener := g.Listener(); listener != nil {
		listener.Release()
	}
}

// beginDrain has the old generation finish what it holds, and then retire, beside the
// loop and its tasks.
func (l *Life) beginDrain(old, next *generation) {
	ctx, hurry := context.WithCancel(l.living)
	d := &drain{generation: old, begun: time.Now(), hurry: hurry}
	l.drain = d
	l.log.Info("draining", "generation", old.number, "pid", old.PID(), l.servesNow())
	go func() {
		defer hurry()
		l.empties(ctx, d)
		l.note(func() { l.drained(d) })
		begun := time.Now()
		_ = l.retire(old, next, nil) // the loop sees what ends
		old.unbind()
		l.note(func() {
			l.drain = nil
			l.log.Info("retired", "generation", old.number, "pid", old.PID(), "took", since(begun))
			l.counts.steps[status.Retire].Observe(seconds(since(begun)))
			l.lookSoon()
		})
	}()
}

// empties waits until a generation that gets nothing new holds no connection, for DRAIN
// at most, and then until none waits to be accepted. Where ctx ends it waits for the
// former no longer than drainLeast, and not at all once the generation has been told to
// end.
func (l *Life) empties(ctx context.Context, d *drain) {
	limit, hurried := time.After(l.settings.Drain), ctx.Done()
	var last <-chan time.Time // once what is held is waited for no more
	for empty := 0; !d.told.Load(); {
		waiting, held, err := d.Listener().Held()
		all := waiting + held
		if err == nil {
			l.note(func() { d.held = &all })
		}
		awaited := all
		if last != nil {
			awaited = waiting
		}
		if err != nil || awaited > 0 {
			empty = 0
		} else if empty++; empty == emptyLooks {
			return
		}
		select {
		case <-time.After(lookHeld):
		case <-hurried:
			hurried, limit = nil, time.After(time.Until(d.begun.Add(min(drainLeast, l.settings.Drain))))
		case <-limit:
			if waiting == 0 {
				return
			}
			hurried, limit, last = nil, nil, time.After(acceptedWithin)
		case <-last:
			return
		case <-d.Done():
			return
		}
	}
}

// drained notes that a generation is to end now, and what it holds still.
func (l *Life) drained(d *drain) {
	took := since(d.begun)
	l.counts.steps[status.Drain].Observe(seconds(took))
	attrs := []any{"generation", d.number, "pid", d.PID()}
	if d.held != nil {
		attrs = append(attrs, "connections", *d.held)
	}
	attrs = append(attrs, "took", took)
	switch {
	case d.told.Load() || dead(d):
	case d.held == nil || *d.held > 0:
		l.log.Info("not drained: its connections are gunicorn's to finish, or to close", append(attrs, l.servesNow())...)
	default:
		l.log.Info("drained", append(attrs, l.servesNow())...)
	}
}

// end has the drain come to its end: the next handoff waits for it.
func (d *drain) end() {
	d.hurried = true
	d.hurry()
}

// ending says whether the next handoff waits for a drain.
func (d *drain) ending() bool { return d != nil && d.hurried }
