package gunicorn

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"github.com/stablehand/stablehand/internal/proc"
	"github.com/stablehand/stablehand/reaper"
)

// ForeignError is the error of a pidfile that names a process which is not the
// command's own gunicorn, and says what that is. gunicorn does not start while it
// lives.
type ForeignError struct {
	Pidfile string
	PID     int
	What    error    // that it is
	Words   []string // with which it was started, or GUNICORN_CMD_ARGS, where those differ; there may be secrets in them
}

func (e *ForeignError) Error() string {
	return fmt.Sprintf("pidfile %s names process %d, which is %v", e.Pidfile, e.PID, e.What)
}

// Adopted is a gunicorn that runs, and that was started by an earlier stablehand.
type Adopted struct {
	*Master
	Retiring *Master // the old one that it replaces, and that has been told to go; nil if there is none
}

// Kept is the process that an earlier stablehand has left word of, as one of the
// command's own: a master that served. Zero is none.
type Kept struct {
	PID     int
	Started uint64 // see proc.Info
}

// adoption is one search for a gunicorn to adopt.
type adoption struct {
	reaper  *reaper.Reaper
	pidfile string
	own     Identity
	kept    Kept
}

// Adopt takes over the living master that a pidfile leads to, if there is one; it
// returns nil where there is not. Whatever an earlier stablehand has left half
// done is seen for what it is:
//
//   - The pidfile names the old master until it has gone. Where that has been told
//     to go, which is seen by its sockets, its successor is what is adopted.
//   - Between the old master's end and the promotion there is a pidfile with .2
//     after its name only.
//   - A successor that has not read its configuration is in neither of them. It is
//     found by the pid of the old master in its environment.
//   - In the midst of the promotion gunicorn removes the one and writes the other
//     later; and anybody may have removed both. Then what was kept leads to it.
//
// A process is the command's own if it acts as our user, was started with the
// command's words (see Identity), is a master and no worker, and has no gunicorn
// above it but its old master. Instead of the words, kept vouches for it. It is
// opened before any of that is asked, so that the answers are about what is adopted.
// Of any other process that the pidfile names the error is a *ForeignError.
//
// A pidfile that is stale is removed where gunicorn would not take it for that.
//
// A process, or the old master above it, may end at any moment of the look at it, and then
// nothing is wrong: another look finds what is there without it.
func Adopt(r *reaper.Reaper, pidfile string, own Identity, kept Kept) (*Adopted, error) {
	const looks = 100 // /proc mounted with hidepid=2 says of what lives, too, that it is gone
	a := adoption{r, pidfile, own, kept}
	for left := looks; ; left-- {
		old, err := readPid(pidfile)
		if err != nil {
			return nil, err
		}
		next, _ := readPid(second(a.pidfile)) // what cannot be read there is none
		found, err := a.among(old, next)
		if now, unread := readPid(pidfile); unread != nil || now != old || found != nil && found.Dead() {
			if unread != nil {
				return nil, unread
			}
			continue // it has gone on meanwhile
		}
		if errors.Is(err, os.ErrProcessDone) && left > 0 {
			continue
		}
		if err != nil {
			return nil, err
		}
		if found == nil {
			err = a.removeStale(old)
		}
		a.removeSecond(next)
		return found, err
	}
}

// among is what is to be adopted, given what the two pidfiles name.
func (a adoption) among(old, next int) (*Adopted, error) {
	m, why := a.take(old)
	if m == nil {
		m, _ = a.take(next)
	}
	if m == nil && why != nil {
		return nil, why
	}
	if m == nil {
		var err error
		if m, err = a.takeKept(); err != nil {
			return nil, err
		}
	}
	if m != nil {
		return a.withKin(m)
	}
	for _, gone := range []int{old, a.kept.PID} {
		if gone == 0 {
			continue
		}
		m, err := a.heirOf(gone)
		if err != nil {
			return nil, err
		}
		if m != nil {
			return &Adopted{Master: m}, nil
		}
	}
	return nil, nil
}

// takeKept adopts what was kept, if that lives, and is the command's own still: where
// it is not, no pidfile names it, and nothing is wrong with it.
func (a adoption) takeKept() (*Master, error) {
	if info, err := proc.Stat(a.kept.PID); err != nil || info.Started != a.kept.Started {
		return nil, nil // the pid is another's by now, or nobody's
	}
	m, err := a.take(a.kept.PID)
	if errors.As(err, new(*ForeignError)) {
		return nil, nil
	}
	return m, err
}

// Is says whether a master is what was kept.
func (m *Master) Is(kept Kept) bool { return kept == Kept{m.PID(), m.started} }

// withKin looks for the other generation of a handoff whose owner has died.
func (a adoption) withKin(m *Master) (*Adopted, error) {
	if old := a.ends(m); old != nil {
		return &Adopted{m, old}, nil
	}
	next, err := m.successor()
	if err != nil {
		return nil, err
	}
	if next != nil && !m.listens() && next.listens() {
		return &Adopted{next, m}, nil
	}
	return &Adopted{Master: m}, nil
}

// ends is the old master above one that was found, if it is at its own end: it has closed
// its sockets and removed its pidfile, and lives for as long as its hooks and threads do.
// Until then the other one is not promoted.
func (a adoption) ends(m *Master) *Master {
	info, err := proc.Stat(m.PID())
	if err != nil {
		return nil
	}
	old, _ := a.take(info.Parent) // who is not the command's own is not its old master
	if old == nil || old.listens() {
		return nil
	}
	if next, _ := old.successor(); next == nil || next.PID() != m.PID() || !next.listens() {
		return nil
	}
	return old
}

// take adopts a process, unless it has gone, or is one of our threads: those come
// first in a new container, and are likely in an old pidfile.
func (a adoption) take(pid int) (*Master, error) {
	if pid == 0 {
		return nil, nil
	}
	leader, err := proc.Leader(pid)
	switch {
	case errors.Is(err, os.ErrProcessDone), err == nil && leader == os.Getpid():
		return nil, nil
	case err != nil:
		return nil, err
	case leader != pid:
		return nil, a.foreign(pid, fmt.Errorf("a thread of process %d", leader))
	}
	p, err := a.reaper.Open(pid)
	if errors.Is(err, os.ErrProcessDone) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	info, err := proc.Stat(pid)
	if err == nil {
		err = a.examine(info)
	}
	if p.Signal(0) != nil || !lives(pid) { // all that was said may be another's, or a zombie's, which shows no words
		return nil, nil
	}
	if err != nil {
		return nil, a.foreign(pid, err)
	}
	return a.adopt(p, info)
}

// foreign is the error of a process that is not the command's own.
func (a adoption) foreign(pid int, what error) error {
	var other otherWords
	errors.As(what, &other)
	return &ForeignError{a.pidfile, pid, what, other.words}
}

// examine returns nil where a process is a master of the command's own. Otherwise
// the error says what it is.
func (a adoption) examine(info proc.Info) error {
	user, err := proc.User(info.PID)
	if err != nil {
		return err
	}
	if user != os.Geteuid() {
		return fmt.Errorf("a process of user %d", user)
	}
	if a.kept == (Kept{info.PID, info.Started}) {
		return nil // it has served
	}
	if !a.precedes(info.PID) {
		if err := a.own.proves(info.PID); err != nil {
			return err
		}
	}
	above, err := gunicornAbove(info)
	if err != nil {
		return err
	}
	if above != 0 {
		return fmt.Errorf("a process of gunicorn %d", above)
	}
	worker, err := isWorker(info.PID)
	if worker {
		return errors.New("a worker of a gunicorn that has gone")
	}
	return err
}

// precedes says whether a process is the gunicorn that has brought up what was kept.
func (a adoption) precedes(pid int) bool {
	kept, err := proc.Stat(a.kept.PID)
	if err != nil || kept.Started != a.kept.Started || kept.Parent != pid {
		return false
	}
	is, err := runs(pid)
	return err == nil && is
}

// gunicornAbove is the pid of a process's parent where that is a gunicorn, and not
// the old master that it replaces; 0 if it is none.
func gunicornAbove(info proc.Info) (int, error) {
	old, err := parentMaster(info.PID)
	if old == info.Parent || errors.Is(err, fs.ErrPermission) {
		err = nil
	}
	if old == info.Parent || err != nil {
		return 0, err
	}
	is, err := runs(info.Parent)
	if errors.Is(err, os.ErrProcessDone) {
		err = nil
	}
	if !is {
		return 0, err
	}
	return info.Parent, nil
}

// isWorker says whether a process of gunicorn's is a worker, or the dirty arbiter:
// it holds heartbeats, and has given up its master's handlers.
func isWorker(pid int) (bool, error) {
	beats, err := heartbeats(pid)
	if errors.Is(err, fs.ErrPermission) {
		return false, nil
	}
	return len(beats) > 0 && !handles(pid, unix.SIGUSR2), err
}

// adopt makes a process that is the command's own a master.
func (a adoption) adopt(p *reaper.Process, info proc.Info) (*Master, error) {
	old, err := parentMaster(p.PID())
	if err != nil && !errors.Is(err, fs.ErrPermission) {
		return nil, err
	}
	m := &Master{Process: p, reaper: a.reaper, parent: max(old, 0), own: &a.own, pidfile: a.pidfile, started: info.Started, heir: info.Parent}
	if old > 0 && old == info.Parent {
		above, err := proc.Stat(old)
		if err != nil {
			return nil, err
		}
		m.heir = above.Parent
	}
	m.promoted.Store(old != info.Parent)
	m.meet(false, nil)
	return m, nil
}

// heirOf is the successor of a master that has gone.
func (a adoption) heirOf(old int) (*Master, error) {
	pids, unread := proc.All()
	for _, pid := range pids {
		if its, err := parentMaster(pid); err != nil || its != old {
			continue // who may not be looked at is another user's
		}
		m, err := a.take(pid)
		if m != nil {
			return m, nil
		}
		if !errors.As(err, new(*ForeignError)) {
			unread = errors.Join(unread, err)
		}
	}
	return nil, unread
}

// Successor is one that is there already, whoever has asked for it; nil if there
// is none.
func (m *Master) Successor() *Master {
	next, _ := m.successor() // one that cannot be looked for is seen by Spawn
	return next
}
