package entrypoint

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/stablehand/stablehand/entrypoint/life"
	"github.com/stablehand/stablehand/entrypoint/status"
	"github.com/stablehand/stablehand/internal/deaf"
	"github.com/stablehand/stablehand/internal/proc"
	"github.com/stablehand/stablehand/internal/small"
)

// memory is what there is of it, as package life needs it. It may be used from any
// goroutine.
type memory struct {
	asked singleflight.Group

	mu      sync.Mutex
	of      int            // the master of the generation that was looked at
	at      time.Time      // when somebody last began to look at it for those who ask
	left    *status.Memory // what Room has told last, and Cost; nil before
	cost    *status.Memory
	costAt  time.Time // when that was told
	looking bool
}

// memoryLimit is how long the kernel may take to tell. It looks through all pages of a
// process, some ms for each GB; where one hangs in a page fault, it waits for that. What
// lies over /proc and /sys may be a file system of its own, too.
const memoryLimit = 2 * time.Second

// seenFor is how long nobody takes another look for those who only want to know.
const seenFor = 30 * time.Second

// costFor is the same of what a generation takes, which costs some ms for each GB.
const costFor = 5 * time.Minute

// newMemory is nil where nobody is to look.
func newMemory(c Config) life.Memory {
	if life.Room(c.Memory) == life.Off {
		return nil
	}
	return new(memory)
}

// Room is what is left where a successor would come up: beside the old master, or, with
// sockets of its own, beside us.
func (m *memory) Room(ctx context.Context, g life.Generation) (status.Memory, error) {
	pid := g.PID()
	if g.Listener() != nil {
		pid = os.Getpid()
	}
	left, err := m.ask(ctx, fmt.Sprint("room beside process ", pid), func() (status.Memory, error) {
		left, err := proc.Memory(pid)
		return status.Memory{Free: left.Free, Limit: left.Limit}, err
	})
	m.keep(g, err, func() { m.left = &left })
	return left, err
}

// spare is how much more of what the old generation takes a new one is taken to need: a
// tenth. As it loads it has more for a moment, page tables are not in the PSS, and who is left
// with nothing is killed.
const spare = 10

// Cost is what the processes of a generation have for themselves. One that has ended
// meanwhile has nothing.
func (m *memory) Cost(ctx context.Context, g life.Generation) (status.Memory, error) {
	master := masterOf(g)
	cost, err := m.ask(ctx, fmt.Sprint("memory of generation ", g.PID()), func() (cost status.Memory, err error) {
		list, err := master.Processes()
		for _, info := range list {
			share, exact, err2 := proc.Share(info.PID)
			cost.Takes, err = cost.Takes+share, errors.Join(err, err2)
			cost.Guessed = cost.Guessed || !exact
		}
		cost.Needed = cost.Takes + cost.Takes/spare
		return cost, err
	})
	m.keep(g, err, func() { m.cost, m.costAt = &cost, time.Now() })
	return cost, err
}

// keep keeps what was told of a generation, for Seen.
func (m *memory) keep(g life.Generation, err error, set func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.of != g.PID() {
		m.of, m.left, m.cost = g.PID(), nil, nil
	}
	if err == nil {
		set()
	}
}

// ask asks the kernel, and waits no longer than memoryLimit. Who asks the same before
// it has answered waits for that answer, so that there is one thread for it at the most.
func (m *memory) ask(ctx context.Context, what string, look func() (status.Memory, error)) (status.Memory, error) {
	answer := m.asked.DoChan(what, func() (found any, err error) {
		deaf.Call(func() { found, err = look() })
		return found, err
	})
	select {
	case a := <-answer:
		return a.Val.(status.Memory), a.Err
	case <-ctx.Done():
		return status.Memory{}, context.Cause(ctx)
	case <-time.After(memoryLimit):
		return status.Memory{}, fmt.Errorf("the kernel does not tell the %s: %w", what, small.ErrHangs)
	}
}

// Seen is what was told last. Where that is old, or of another generation, a look is
// taken beside, for who asks later: whoever probes or scrapes is not to wait for it.
func (m *memory) Seen(g life.Generation) *status.Memory {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.looking && (m.of != g.PID() || time.Since(m.at) > seenFor) {
		m.looking, m.at = true, time.Now()
		go m.look(g)
	}
	if m.of != g.PID() || m.left == nil || m.cost == nil {
		return nil
	}
	seen := *m.cost
	seen.Free, seen.Limit = m.left.Free, m.left.Limit
	return &seen
}

func (m *memory) look(g life.Generation) {
	m.mu.Lock()
	known := m.of == g.PID() && m.cost != nil && time.Since(m.costAt) < costFor
	m.mu.Unlock()
	if !known {
		_, _ = m.Cost(context.Background(), g) // what is not told is not shown
	}
	_, _ = m.Room(context.Background(), g)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.looking = false
}
