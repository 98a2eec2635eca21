package gunicorn

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stablehand/stablehand/internal/proc"
	"github.com/stablehand/stablehand/reaper"
)

// lookEvery is the pause between two looks at the process table while
// something is awaited that sends no event.
const lookEvery = 20 * time.Millisecond

// Where it is not known whether what is awaited will ever come, the looks get
// rarer: each pause is at least a seldomth of the time that has passed, up to
// lookAtLast. So they take at first 20 ms, and after 10 s a second.
const (
	seldom     = 10
	lookAtLast = time.Second
)

// Master is one gunicorn master with its workers: a generation, seen from
// outside. Signal, Deliver, Hurry, Workers, Processes and what is behind Process
// may be used from any goroutine, all else from one at a time.
type Master struct {
	*reaper.Process
	reaper      *reaper.Reaper
	dir         string                 // where gunicorn will start its successor, see startDir
	interpreter string                 // by which it will, see interpreter
	parent      int                    // the old master that it was brought up by, 0 for none
	next        atomic.Pointer[Master] // its successor, while there is one
	seeing      sync.Mutex
	seen        []proc.Info  // processes of its generation, see Processes
	ready       []int        // its children when it was found ready, see Soak
	before      map[int]bool // children that it had before it was asked for a successor
}

// Find waits until command or what it has started is a gunicorn master. It
// returns an error when ctx ends or the command does. A look that fails is
// followed by another, as one that finds nothing is.
func Find(ctx context.Context, r *reaper.Reaper, command *reaper.Process) (*Master, error) {
	for begun := time.Now(); ; {
		if pid, ok, _ := findMaster(command.PID()); ok {
			if p, err := r.Open(pid); err == nil {
				return &Master{Process: p, reaper: r}, nil
			}
		}
		wait := min(max(lookEvery, time.Since(begun)/seldom), lookAtLast)
		if err := pauseFor(ctx, command, wait); err != nil {
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

// ExitCode is the code to exit with on the process's behalf.
func (e *ExitError) ExitCode() int { return e.Status.ExitCode() }

// Advice is what can be done about it.
func (e *ExitError) Advice() string {
	if e.Status.Signal() == unix.SIGKILL {
		return "if nobody has killed it, give the container more memory"
	}
	return "mend what gunicorn's lines above tell of"
}

// advised is an error that knows what can be done about it.
type advised struct {
	error
	do string
}

// Unwrap returns the error without its advice.
func (a advised) Unwrap() error { return a.error }

// Advice is what can be done about the error.
func (a advised) Advice() string { return a.do }

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
// a successor, all that was left to us by processes of it. Beside an error it
// lists what it could, and what it knew before it still knows.
func (m *Master) Processes() ([]proc.Info, error) {
	m.seeing.Lock()
	defer m.seeing.Unlock()
	tree, err := m.tree()
	left, err2 := proc.Living(m.seen)
	orphans, err3 := m.orphans()
	m.seen = proc.Merge(tree, left, orphans)
	return slices.Clone(m.seen), errors.Join(err, err2, err3)
}

// tree is the master's tree without the successor's, which is one of its
// branches until the master has gone.
func (m *Master) tree() ([]proc.Info, error) {
	if m.Dead() {
		return nil, nil // its pid may be another's
	}
	return m.treeOf(m.PID())
}

// treeOf is a process's tree without the successor's.
func (m *Master) treeOf(pid int) ([]proc.Info, error) {
	except := 0
	if next := m.next.Load(); next != nil {
		except = next.PID()
	}
	return proc.TreeWithout(pid, except)
}

// orphans lists processes of a successor whose parents have gone. Until its
// promotion everything in it carries the old master's pid in its environment.
// One whose environment is kept from us cannot be told from anybody else's, and
// is left alone.
func (m *Master) orphans() ([]proc.Info, error) {
	if m.parent == 0 {
		return nil, nil
	}
	children, err := proc.Children(os.Getpid())
	var orphans []proc.Info
	for _, pid := range children {
		old, err2 := parentMaster(pid)
		switch {
		case errors.Is(err2, os.ErrProcessDone), errors.Is(err2, fs.ErrPermission):
		case err2 != nil:
			err = errors.Join(err, err2)
		case old == m.parent:
			tree, err2 := m.treeOf(pid) // the master itself, once it is promoted
			orphans, err = append(orphans, tree...), errors.Join(err, err2)
		}
	}
	return orphans, err
}

// Hurry sends sig, INT or QUIT, to all of the master's generation but itself:
// gunicorn 23 and older ignore both while a TERM is under way, and their workers
// do not.
func (m *Master) Hurry(sig unix.Signal) error {
	tree, err := m.tree()
	workers := slices.DeleteFunc(tree, func(i proc.Info) bool { return i.PID == m.PID() })
	return errors.Join(err, proc.Kill(workers, sig))
}

// unreadable says whether an error means that the process table keeps from us
// what we ask for, and not just that the process has gone or is about to. Where
// that cannot be read either, it has not shown itself yet.
func unreadable(err error, p *reaper.Process) bool {
	if !errors.Is(err, fs.ErrPermission) {
		return false
	}
	info, err := proc.Stat(p.PID())
	return err == nil && info.Alive() && !info.Exiting
}

// End ends all that lives of the master's generation. With a grace above 0
// its master first gets TERM, and that long to finish what its workers hold;
// then, or at once, everything left is killed. A successor is waited for until
// the old master has reaped it, too: that one takes no USR2 before.
func (m *Master) End(ctx context.Context, grace time.Duration) error {
	if grace > 0 && m.Signal(unix.SIGTERM) == nil {
		proc.Gone(ctx, m.Processes, grace)
	}
	if err := proc.End(ctx, m.Processes); err != nil {
		return err
	}
	for m.parent != 0 {
		info, err := proc.Stat(m.PID())
		if errors.Is(err, os.ErrProcessDone) || err == nil && info.Parent != m.parent {
			break
		}
		select {
		case <-time.After(lookEvery):
		case <-ctx.Done():
			return nil // it has ended, which is what was asked for
		}
	}
	return nil
}
