package gunicorn

import (
	"context"
	"fmt"
	"time"

	"github.com/stablehand/stablehand/internal/proc"
)

// While a generation soaks, its workers are looked at every lookSoaking. Its
// processes are listed every listSoaking, for what it may leave behind, and more
// seldom where that would take more than a listShare of the time.
const (
	lookSoaking = 100 * time.Millisecond
	listSoaking = time.Second
	listShare   = 200
)

// Soak watches the workers of a master that got ready until the time is over, and
// returns an error as soon as one of them is lost, also if that was before the
// call: ErrLost, an *ExitError or ctx's. A worker that gunicorn has replaced since
// it served max_requests is not lost, see ledger; where nobody knows how one ended,
// it is not if as many are ready at the end as were at the beginning. Where there is no
// time for it it looks once.
func (m *Master) Soak(ctx context.Context, how time.Duration) error {
	over := time.Now().Add(how)
	list := time.Now()
	for {
		begun := time.Now()
		if begun.After(list) {
			_, _ = m.note() // for End, which tells of what could not be listed
			list = begun.Add(max(listSoaking, listShare*time.Since(begun)))
		}
		_, _ = m.ledger.look(m, true) // one that fails is followed by another
		ended := begun.After(over) && !m.ledger.dying()
		if exits := m.soaked(ended); exits.total() > 0 {
			return m.lost(ctx, exits)
		}
		if ended {
			return nil
		}
		select {
		case <-m.Done():
			return m.explain(&ExitError{PID: m.PID(), Status: m.Status()})
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(max(time.Millisecond, min(time.Until(over), lookSoaking))):
		}
	}
}

// lostError is ErrLost with how the workers ended.
type lostError struct{ exits tally }

func (e lostError) Error() string { return fmt.Sprintf("%v: %v", ErrLost, e.exits) }

func (lostError) Unwrap() error { return ErrLost }

// OutOfMemory says whether the kernel has killed one for want of memory.
func (e lostError) OutOfMemory() bool { return e.exits.oomKilled() > 0 }

// soaked is how the workers ended that were lost; empty if none was.
func (m *Master) soaked(over bool) tally {
	if !over {
		return m.ledger.soaked(false, 0)
	}
	now := m.Workers()
	if now.Blind {
		now.Ready = now.All
	}
	return m.ledger.soaked(true, now.Ready)
}

// lost says why a worker was lost: by itself, or since its master has ended,
// which makes it somebody else's child before the master's status is there.
func (m *Master) lost(ctx context.Context, exits tally) error {
	for !proc.Alive(m.PID()) {
		if err := pause(ctx, m.Process); err != nil {
			return m.explain(err)
		}
	}
	return lostError{exits}
}
