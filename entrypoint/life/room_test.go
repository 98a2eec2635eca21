package life_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/stablehand/stablehand/entrypoint/life"
	"github.com/stablehand/stablehand/entrypoint/status"
)

// The world has memory, too: more than enough, too little for good or for a while, so
// much that it is enough when some workers have gone, or nobody knows how much.

const eachWorker = 100 // bytes

type memory struct {
	kind   int
	comes  time.Time // when there is enough, of those that lack it for a while
	takes  time.Duration
	needed int64 // as was told last
	enough bool
	known  bool
}

const (
	plenty = iota
	none
	forAWhile
	ofWorkers
	unknown
	kinds
)

func drawMemory(r *rand.Rand) (life.Room, memory) {
	rooms := []life.Room{life.Off, life.Warn, life.Wait, life.Shrink, life.Shrink}
	return rooms[r.IntN(len(rooms))], memory{
		kind: r.IntN(kinds), comes: time.Now().Add(some(r, 5*time.Minute)),
		takes: []time.Duration{0, 0, time.Millisecond, 2 * time.Second}[r.IntN(4)],
	}
}

var errUnmeasured = errors.New("it cannot be read")

// look takes as long as it does, but no longer than who asks waits.
func (w *world) look(ctx context.Context) error {
	w.works(ctx)
	select {
	case <-time.After(w.memory.takes):
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if w.memory.kind == unknown {
		return errUnmeasured
	}
	return nil
}

func (w *world) Cost(ctx context.Context, g life.Generation) (status.Memory, error) {
	w.Lock()
	w.checkReason(g.(*generation))
	w.roomLooked = true
	w.Unlock()
	if err := w.look(ctx); err != nil {
		return status.Memory{}, err
	}
	w.Lock()
	defer w.Unlock()
	w.memory.known = false // nobody has told yet how much is left
	w.memory.needed = int64(eachWorker * g.(*generation).there)
	return status.Memory{Needed: w.memory.needed}, nil
}

func (w *world) Room(ctx context.Context, of life.Generation) (status.Memory, error) {
	if err := w.look(ctx); err != nil {
		return status.Memory{}, err
	}
	w.Lock()
	defer w.Unlock()
	g := of.(*generation)
	m := status.Memory{Free: 1_000_000, Limit: "made up"}
	switch w.memory.kind {
	case none:
		m.Free = 0
	case forAWhile:
		if time.Now().Before(w.memory.comes) {
			m.Free = 0
		}
	case ofWorkers: // as much as half of its workers have, and all that have gone
		m.Free = int64(eachWorker * (g.base - g.there + g.base/2))
	}
	w.memory.known, w.memory.enough = true, m.Free >= w.memory.needed
	return m, nil
}

func (w *world) Seen(life.Generation) *status.Memory { return nil }

func (g *generation) More(context.Context) error {
	g.w.Lock()
	defer g.w.Unlock()
	g.w.note("one worker more for generation %d, which is to have %d and has %d", g.number, g.base, g.target)
	if g.target >= g.base {
		g.w.fault("generation %d is given a worker that was not taken", g.number)
	}
	g.grow(+1)
	return nil
}

func (g *generation) Less(context.Context) error {
	g.w.Lock()
	defer g.w.Unlock()
	g.w.note("one worker less for generation %d, which has %d", g.number, g.target)
	switch {
	case g.w.settings.Room != life.Shrink:
		g.w.fault("generation %d is to do with fewer workers, and nobody wants that", g.number)
	case g.target < 2:
		g.w.fault("generation %d is to do without a worker", g.number)
	case g.w.stopped && g.w.stoppedAt.Before(time.Now()):
		g.w.fault("generation %d is to do with fewer workers, and stops", g.number)
	}
	if g.target > 1 {
		g.grow(-1)
	}
	return nil
}

// checkRoom: nothing is begun for which there is known to be no memory, unless somebody
// else has, or all there was has gone.
func (w *world) checkRoom(old *generation, early bool) {
	waits := w.settings.Room == life.Wait || w.settings.Room == life.Shrink
	if waits && w.memory.known && !w.memory.enough && !early && !old.dead() && w.strayOf(old) == nil {
		w.fault("a handoff begins without room, and is to wait for it")
	}
}

// checkWaits: nobody waits for room for longer than READY_TIMEOUT, which workers that are
// given back may take as long again.
func (w *world) checkWaits() {
	const givesBack = 40 * time.Second
	if w.stopped || w.roomed.IsZero() || w.serving.dead() || w.serving.stuck {
		return
	}
	if limit := w.settings.ReadyTimeout + w.memory.takes + givesBack; time.Since(w.roomed) > limit {
		w.fault("a handoff waits for room for more than %v", limit)
	}
}

// checkGivenBack: after a handoff that failed the old generation has as many workers as
// before.
func (w *world) checkGivenBack() {
	if g := w.serving; g.target != g.base && !g.dead() && !g.termed && !w.stopped {
		w.fault("generation %d is to have %d workers, and has %d", g.number, g.base, g.target)
	}
}
