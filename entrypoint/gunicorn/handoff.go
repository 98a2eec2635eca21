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
var ErrLost error = advised{errors.New("a worker was lost"), "see " + theLines + " for which, and why"}

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
// wait before forkGrace, so that no successor comes up unseen but one that comes
// late: see Late. One that is there and on its way out, since somebody else has given
// it up, is waited for: gunicorn brings up no other before.
//
// Nothing is sent, and the error says so at once, where something would not let a
// successor live, where its program cannot be run, or where there is no room for its processes.
func (m *Master) Spawn(ctx context.Context) (next *Master, ours bool, err error) {
	if err := m.Hindrance(); err != nil {
		return nil, false, err
	}
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
	_, _ = m.Processes() // while all that gunicorn has left behind is its own
	var asked time.Time
	for {
		next, unseen := m.successor()
		if next != nil && (!asked.IsZero() || next.listens()) {
			m.asked = false
			return next, !asked.IsZero(), nil
		}
		_, _ = m.note() // for left; Clear says what could not be listed
		wait := lookEvery
		if time.Since(asked) < lookCloselyIn {
			wait = lookClosely
		}
		err = pauseFor(ctx, m.Process, wait)
		if err != nil && time.Since(asked) > forkGrace {
			if next, unseen = m.successor(); next != nil { // which is elsewhere, now that the master has gone
				return next, !asked.IsZero(), nil
			}
			return nil, false, errors.Join(err, unseen)
		}
		if err != nil {
			time.Sleep(lookEvery)
			continue
		}
		if next == nil && unseen == nil && time.Since(asked) > askAgain && m.Handles(unix.SIGUSR2) {
			if err := m.ask(len(children)); err != nil {
				return nil, false, err
			}
			asked, m.asked = time.Now(), true
		}
	}
}

// Room is the error of a limit by which a process may not begin another generation of as
// many workers.
func Room(pid, workers int) error {
	if err := proc.Room(pid, 1+workers); err != nil {
		return advised{err, "raise it"}
	}
	return nil
}

// ask sends USR2, where there is room for as many processes as the generation
// has now: a master that cannot fork for want of it ends with 255 (seen in a full
// pids cgroup). One that has just ended is seen to by its Done.
func (m *Master) ask(workers int) error {
	if err := Room(m.PID(), workers); err != nil {
		return err
	}
	if err := m.Signal(unix.SIGUSR2); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

// successor finds the new master among the children of this one, or, when this one
// has gone, among what it has left, by its environment: gunicorn gives it the old
// one's pid in GUNICORN_PID. It is another program for the instant between fork and
// exec, and not found then. It is nil if there is none, or if an error kept it
// from being looked for.
func (m *Master) successor() (*Master, error) {
	among, unread := proc.Children(m.PID())
	if m.Dead() {
		among, unread = m.left()
	}
	for _, pid := range among {
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

// left lists the processes that may have been children of this master, which has
// gone, and are no workers: those that were seen below it, and those that name it.
// What was started by us it leaves to us. For an adopted one all processes are
// looked through: whoever inherits what it leaves may end, too.
func (m *Master) left() ([]int, error) {
	children, err := proc.Children(os.Getpid())
	if m.own != nil {
		children, err = proc.All()
		children = slices.DeleteFunc(children, func(pid int) bool { return !m.names(pid) })
	}
	m.seeing.Lock()
	for _, info := range m.seen {
		if now, err := proc.Stat(info.PID); err == nil && now.Started == info.Started && !slices.Contains(children, info.PID) {
			children = append(children, info.PID)
		}
	}
	m.seeing.Unlock()
	return slices.DeleteFunc(children, isLeftWorker), err
}

// names says whether a process is the command's own and names this master, of
// which no other has had the pid since, as its old one.
func (m *Master) names(pid int) bool {
	old, err := parentMaster(pid)
	if err != nil || old != m.PID() {
		return false
	}
	info, err := proc.Stat(pid)
	return err == nil && info.Started >= m.started && m.isOwn(pid)
}

// isLeftWorker says whether a process is known to be a worker, which has the same
// environment as its master.
func isLeftWorker(pid int) bool {
	if worker, err := isWorker(pid); worker && err == nil {
		return true
	}
	info, err := proc.Stat(pid)
	if err != nil {
		return false
	}
	above, err := gunicornAbove(info)
	return err == nil && above != 0
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
	if words, unread := proc.Cmdline(child); err == nil && unread == nil && intact(words) {
		return false, nil // what the application has forked may have any handlers
	}
	return m.looksNew(child)
}

// looksNew tells the new master from a new worker where the environment does
// not: it may not be readable, and setproctitle writes over it. A worker gives
// up its master's handlers as soon as it has been forked, and has no children. One
// that was there before was begun by somebody else, and has to be called a master.
func (m *Master) looksNew(child int) (bool, error) {
	words, _ := proc.Cmdline(child) // of one that has gone there are none
	if m.before[child] && !titledMaster(words) || !handlesAll(child) {
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
	m.seeing.Lock() // whoever lists this generation's processes meanwhile must not find them again
	defer m.seeing.Unlock()
	tree, err := proc.Tree(pid)
	if err != nil {
		return nil, err
	}
	if len(tree) == 0 {
		return nil, os.ErrProcessDone
	}
	next := &Master{Process: p, reaper: m.reaper, parent: m.PID(), own: m.own, pidfile: m.pidfile, heir: m.heir, started: tree[0].Started}
	m.next.Store(next)
	m.seen = slices.DeleteFunc(m.seen, func(i proc.Info) bool {
		return slices.ContainsFunc(tree, func(its proc.Info) bool { return its.PID == i.PID && its.Started == i.Started })
	})
	m.ledger.isNot(pid)
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
			m.promoted.Store(true)
			return nil
		}
		if err := pause(ctx, m.Process); err != nil {
			return err
		}
	}
}

// Forget ends the relation to a successor that has gone or been promoted.
func (m *Master) Forget() { m.next.Store(nil) }
