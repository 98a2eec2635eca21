package gunicorn

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stablehand/stablehand/reaper"
)

// lookEvery is the pause between two looks at the process table while
// something is awaited that sends no event.
const lookEvery = 20 * time.Millisecond

// Master is one gunicorn master with its workers: a generation, seen from
// outside. Signal, Deliver, Workers and what is behind Process may be used from
// any goroutine, all else from one at a time.
type Master struct {
	*reaper.Process
	reaper      *reaper.Reaper
	dir         string        // where gunicorn will start its successor, see startDir
	interpreter string        // by which it will, see interpreter
	parent      int           // the old master that it was brought up by, 0 for none
	next        *Master       // its successor, while there is one
	seen        []reaper.Info // processes of its generation, see Processes
	ready       []int         // its children when it was found ready, see Soak
	before      map[int]bool  // children that it had before it was asked for a successor
}

// Find waits until command or what it has started is a gunicorn master. It
// returns an error when ctx ends or the command does.
func Find(ctx context.Context, r *reaper.Reaper, command *reaper.Process) (*Master, error) {
	for {
		if pid, ok := findMaster(command.PID()); ok {
			if p, err := r.Open(pid); err == nil {
				return &Master{Process: p, reaper: r}, nil
			}
		}
		if err := pause(ctx, command); err != nil {
			return nil, err
		}
	}
}

// ExitError is the error of waiting for something of a process that has ended.
type ExitError struct {
	PID    int
	Status reaper.Status
}

// Error says how the process ended, in gunicorn's words where its exit code
// has a meaning: 3 and 4 are Arbiter.WORKER_BOOT_ERROR and APP_LOAD_ERROR.
func (e *ExitError) Error() string {
	text := e.Status.String()
	if !e.Status.Known() || e.Status.Signal() != 0 {
		return text
	}
	switch e.Status.ExitCode() {
	case 3:
		text += " (a worker failed to boot)"
	case 4:
		text += " (the application failed to load)"
	}
	return text
}

// pause waits until it is time to look again, p has ended or ctx has.
func pause(ctx context.Context, p *reaper.Process) error { return pauseFor(ctx, p, lookEvery) }

// pauseFor is pause with another time until the next look.
func pauseFor(ctx context.Context, p *reaper.Process, wait time.Duration) error {
	select {
	case <-time.After(wait):
		return nil
	case <-p.Done():
		return &ExitError{p.PID(), p.Status()}
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Handles says whether the master has installed its handler for sig. Before
// that the signal would do what the kernel does by default: HUP, USR1 and
// USR2 would kill it.
func (m *Master) Handles(sig unix.Signal) bool { return handles(m.PID(), sig) }

// Deliver sends sig as soon as the master handles it. It gives up when ctx or
// the master ends.
func (m *Master) Deliver(ctx context.Context, sig unix.Signal) error {
	for !m.Handles(sig) {
		if err := pause(ctx, m.Process); err != nil {
			return err
		}
	}
	return m.Signal(sig)
}

// Processes lists what lives of the master's generation, itself included but
// not its successor's: its tree, what was in it at an earlier call, and, for
// a successor, all that was left to us by processes of it.
func (m *Master) Processes() []reaper.Info {
	left := slices.DeleteFunc(m.seen, func(was reaper.Info) bool {
		now, err := reaper.Stat(was.PID)
		return err != nil || now.Started != was.Started || !now.Alive()
	})
	var tree []reaper.Info
	if !m.Dead() { // its pid may be another's then
		tree = m.tree(m.PID())
	}
	m.seen = reaper.Merge(tree, left, m.orphans())
	return slices.Clone(m.seen)
}

// tree is a process's tree without the successor's, which is one of its
// branches until the master has gone.
func (m *Master) tree(pid int) []reaper.Info {
	if m.next != nil && pid == m.next.PID() {
		return nil
	}
	var tree []reaper.Info
	if info, err := reaper.Stat(pid); err == nil && info.Alive() {
		tree = append(tree, info)
	}
	for _, child := range reaper.Children(pid) {
		tree = append(tree, m.tree(child)...)
	}
	return tree
}

// orphans lists processes of a successor whose parents have gone. Until its
// promotion everything in it carries the old master's pid in its environment.
func (m *Master) orphans() []reaper.Info {
	var orphans []reaper.Info
	if m.parent == 0 {
		return nil
	}
	for _, pid := range reaper.Children(os.Getpid()) {
		if old, err := parentMaster(pid); err == nil && old == m.parent {
			orphans = append(orphans, m.tree(pid)...)
		}
	}
	return orphans
}

// unreadable says whether an error means that the process table keeps from us
// what we ask for, and not just that the process has gone or is about to.
func unreadable(err error, p *reaper.Process) bool {
	if !errors.Is(err, fs.ErrPermission) {
		return false
	}
	info, err := reaper.Stat(p.PID())
	return err == nil && info.Alive() && !info.Exiting
}

// End ends all that lives of the master's generation. With a grace above 0
// its master first gets TERM, and that long to finish what its workers hold;
// then, or at once, everything left is killed. A successor is waited for until
// the old master has reaped it, too: that one takes no USR2 before.
func (m *Master) End(ctx context.Context, grace time.Duration) error {
	if grace > 0 && m.Signal(unix.SIGTERM) == nil {
		reaper.Gone(ctx, m.Processes, grace)
	}
	if err := reaper.End(ctx, m.Processes); err != nil {
		return err
	}
	for m.parent != 0 {
		info, err := reaper.Stat(m.PID())
		if err != nil || info.Parent != m.parent || ctx.Err() != nil {
			break
		}
		time.Sleep(lookEvery)
	}
	return nil
}
