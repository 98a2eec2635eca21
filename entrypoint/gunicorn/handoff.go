package gunicorn

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stablehand/stablehand/internal/proc"
)

// ErrLost is the error of a soak in which a worker was lost.
var ErrLost error = advised{errors.New("a worker was lost"), "see gunicorn's lines above for which, and why"}

// forkGrace is how long after a USR2 a successor may still appear that nobody
// waits for any more.
const forkGrace = 2 * time.Second

// A successor that cannot even begin, since its program has gone or gunicorn is
// not among its packages, lives for some 20 ms. For this long after a USR2 the
// looks are so close that it is seen, and how it ended is known: one that is
// missed is only seen when USR2 is sent again.
const (
	lookClosely   = 2 * time.Millisecond
	lookCloselyIn = 500 * time.Millisecond
)

// askAgain is when a USR2 that has brought up no successor is sent again. A
// master ignores it until it has been promoted, which it looks for once a
// second, and while it has a successor, so that it does no harm.
const askAgain = 5 * time.Second

// Spawn makes the master bring up a successor by USR2, as soon as it handles
// that, and returns it. A successor that is there already, since somebody
// else asked for it, is taken as it is, and is not ours. The error is an *ExitError where the
// master ends and leaves none, or ctx's. Once USR2 was sent neither ends the
// wait before forkGrace, so that no successor comes up unseen.
//
// Nothing is sent, and the error says so at once, where the successor's program
// cannot be run, or where there is no room for its processes.
func (m *Master) Spawn(ctx context.Context) (next *Master, ours bool, err error) {
	if err := m.canExec(ctx); err != nil {
		return nil, false, err
	}
	children, err := proc.Children(m.PID())
	if err != nil {
		return nil, false, err
	}
	m.before = make(map[int]bool)
	for _, pid := range children {
		m.before[pid] = true
	}
	var asked time.Time
	for {
		next, unseen := m.successor()
		if next != nil {
			return next, !asked.IsZero(), nil
		}
		wait := lookEvery
		if time.Since(asked) < lookCloselyIn {
			wait = lookClosely
		}
		err = pauseFor(ctx, m.Process, wait)
		if err != nil && time.Since(asked) > forkGrace {
			return nil, false, errors.Join(err, unseen)
		}
		if err != nil {
			time.Sleep(lookEvery)
			continue
		}
		if unseen == nil && time.Since(asked) > askAgain && m.Handles(unix.SIGUSR2) {
			if err := m.ask(len(children)); err != nil {
				return nil, false, err
			}
			asked = time.Now()
		}
	}
}

// ask sends USR2, where there is room for as many processes as the generation
// has now: a master that cannot fork for want of it ends with 255 (seen in a full
// pids cgroup). One that has just ended is seen to by its Done.
func (m *Master) ask(workers int) error {
	if err := proc.Room(m.PID(), 1+workers); err != nil {
		return advised{err, "raise it"}
	}
	if err := m.Signal(unix.SIGUSR2); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

// successor finds the new master among the children of this one, or of ours
// when this one has gone, by its environment: gunicorn gives it the old one's
// pid in GUNICORN_PID. It is another program for the instant between fork and
// exec, and not found then. It is nil if there is none, or if an error kept it
// from being looked for.
func (m *Master) successor() (*Master, error) {
	whose := m.PID()
	if m.Dead() {
		whose = os.Getpid()
	}
	children, unread := proc.Children(whose)
	for _, pid := range children {
		is, err := m.isSuccessor(pid)
		if err != nil {
			unread = errors.Join(unread, err)
			continue
		}
		if !is || !proc.Alive(pid) {
			continue
		}
		next, err := m.accept(pid)
		if err == nil {
			return next, nil
		}
		if !errors.Is(err, os.ErrProcessDone) {
			unread = errors.Join(unread, err)
		}
	}
	return nil, unread
}

// isSuccessor says whether a child is the new master. An environment that is
// kept from us says nothing, and neither does one that has gone.
func (m *Master) isSuccessor(child int) (bool, error) {
	old, err := parentMaster(child)
	if err != nil && !errors.Is(err, fs.ErrPermission) && !errors.Is(err, os.ErrProcessDone) {
		return false, err
	}
	if old != 0 {
		return old == m.PID(), nil
	}
	return m.looksNew(child)
}

// looksNew tells the new master from a new worker where the environment does
// not: it may not be readable, and setproctitle writes over it. A worker gives
// up its master's handlers as soon as it has been forked, and has no children.
func (m *Master) looksNew(child int) (bool, error) {
	if m.before[child] || !handles(child, unix.SIGUSR2) {
		return false, nil
	}
	children, err := proc.Children(child)
	return len(children) > 0, err
}

// accept makes a process the successor. Whatever of it has been seen as a part
// of this generation is not, any more.
func (m *Master) accept(pid int) (*Master, error) {
	p, err := m.reaper.Open(pid)
	if err != nil {
		return nil, err
	}
	tree, err := proc.Tree(pid)
	if err != nil {
		return nil, err
	}
	m.seeing.Lock()
	m.seen = slices.DeleteFunc(m.seen, func(i proc.Info) bool {
		return slices.ContainsFunc(tree, func(its proc.Info) bool { return its.PID == i.PID && its.Started == i.Started })
	})
	m.seeing.Unlock()
	next := &Master{Process: p, reaper: m.reaper, parent: m.PID()}
	m.next.Store(next)
	return next, nil
}

// Promoted waits until the master, whose parent has gone, has seen that it
// has: only then will it take a USR2. It looks once in each turn of its loop,
// and each turn has it wait once, which the process table counts. A look that
// fails is followed by another, until ctx ends.
func (m *Master) Promoted(ctx context.Context) error {
	const turn = 2 // the first may have begun before the parent went
	var first uint64
	for {
		info, err := proc.Stat(m.PID())
		waits, werr := proc.Count(m.PID(), "voluntary_ctxt_switches")
		orphaned := err == nil && werr == nil && info.Parent != m.parent
		if orphaned && first == 0 {
			first = waits
		}
		if orphaned && waits >= first+turn {
			return nil
		}
		if err := pause(ctx, m.Process); err != nil {
			return err
		}
	}
}

// Forget ends the relation to a successor that has gone or been promoted.
func (m *Master) Forget() { m.next.Store(nil) }
