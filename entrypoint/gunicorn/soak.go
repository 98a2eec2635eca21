package gunicorn

import (
	"context"
	"errors"
	"os"
	"slices"
	"time"

	"github.com/stablehand/stablehand/internal/proc"
)

// While a generation soaks, its processes are listed now and then, for what it
// may leave behind: every listSoaking, and more seldom where that would take more
// than a listShare of the time.
const (
	listSoaking = time.Second
	listShare   = 200
)

// Soak watches the workers with which the master got ready until the time is
// over, and returns an error as soon as one of them is lost, also if that was
// before the call: ErrLost, an *ExitError or ctx's. The heartbeats do not tell:
// a worker that is replaced at once may get the same inode for its file.
//
// The workers' pidfds tell of their deaths. Where there are no descriptors for
// them, the listings do.
func (m *Master) Soak(ctx context.Context, how time.Duration) error {
	if how <= 0 {
		return nil
	}
	died, stop, err := proc.FirstDeath(m.ready)
	if errors.Is(err, os.ErrProcessDone) {
		return m.lost(ctx)
	}
	defer stop()
	over := time.Now().Add(how)
	for {
		begun := time.Now()
		if list, err := m.Processes(); err == nil && !m.hasAll(list) {
			return m.lost(ctx)
		}
		if begun.After(over) {
			return nil
		}
		select {
		case <-died:
			return m.lost(ctx)
		case <-m.Done():
			return &ExitError{m.PID(), m.Status()}
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(min(time.Until(over), max(listSoaking, listShare*time.Since(begun)))):
		}
	}
}

// hasAll says whether all workers with which the master got ready are among its
// children.
func (m *Master) hasAll(list []proc.Info) bool {
	children := make(map[int]bool)
	for _, info := range list {
		children[info.PID] = info.Parent == m.PID()
	}
	return !slices.ContainsFunc(m.ready, func(pid int) bool { return !children[pid] })
}

// lost says why a worker was lost: by itself, or since its master has ended,
// which makes it somebody else's child before the master's status is there.
func (m *Master) lost(ctx context.Context) error {
	for !proc.Alive(m.PID()) {
		if err := pause(ctx, m.Process); err != nil {
			return err
		}
	}
	return ErrLost
}
