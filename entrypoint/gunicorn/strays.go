package gunicorn

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stablehand/stablehand/internal/proc"
)

// Stray is a gunicorn master that nobody looks after.
type Stray struct {
	PID   int
	Words []string

	Of     int  // the pid of the known master of which it is the successor, 0 for none
	Below  bool // it is in the tree of a known master, otherwise than as its successor
	Inside bool // and a worker of that one, or what a worker has started, has started it
}

// Strays lists the gunicorn masters that are below us, or below a known one, and
// are not among the known. One that has not installed its handlers yet is not seen:
// a --check-config never does, and another look may come. Beside an error it lists what
// it could. It may be called from any goroutine.
func Strays(known []*Master) ([]Stray, error) {
	s := search{known: make(map[int]bool), beside: make(map[int]bool)}
	for _, m := range known {
		if m.Dead() {
			continue
		}
		s.known[m.PID()] = true
		beside, err := proc.Living(m.beside)
		s.failed(err)
		for _, info := range beside {
			s.beside[info.PID] = true
		}
	}
	s.below(os.Getpid(), 0)
	for pid := range s.known { // one that was adopted may be elsewhere
		s.below(pid, 0)
	}
	return s.found, s.err
}

// search is a walk through the process table.
type search struct {
	known  map[int]bool // true until what is below it has been looked at
	beside map[int]bool // children of a known master that are not of its generation
	found  []Stray
	err    error
}

// below looks at what is below a process. branch is the child of the known master in
// whose tree this is, 0 where it is in none.
func (s *search) below(pid, branch int) {
	unseen, known := s.known[pid]
	if known && !unseen {
		return
	}
	if known {
		s.known[pid] = false
	}
	children, err := proc.Children(pid)
	s.failed(err)
	for _, child := range children {
		if known {
			branch = child
		}
		if s.beside[child] {
			branch = 0
		}
		stray, is, err := s.look(child, pid, branch)
		s.failed(err)
		if !is { // else what is below it is its own
			s.below(child, branch)
			continue
		}
		s.found = append(s.found, stray)
	}
}

// failed keeps an error, unless it is that a process has gone meanwhile, or that we
// may not look at it.
func (s *search) failed(err error) {
	if !errors.Is(err, os.ErrProcessDone) && !errors.Is(err, fs.ErrPermission) {
		s.err = errors.Join(s.err, err)
	}
}

// look says whether a child is a master that is not known. Most that are none have
// told so by the signals that they handle, so that nothing more is read of them.
func (s *search) look(pid, parent, branch int) (stray Stray, is bool, err error) {
	if _, known := s.known[pid]; known || !handlesAll(pid) || !proc.Alive(pid) {
		return stray, false, nil
	}
	words, err := proc.Cmdline(pid)
	if err != nil {
		return stray, false, err
	}
	stray = Stray{PID: pid, Words: words}
	if _, known := s.known[parent]; known {
		old, sure, err := succeeds(pid, words)
		if err != nil || old == parent || !sure {
			stray.Of = parent
			return stray, old == parent, err
		}
	}
	if is, err = isOther(pid, words, parent); !is {
		return stray, false, err
	}
	stray.Below = branch != 0
	stray.Inside = stray.Below && branch != pid && isFork(branch)
	return stray, true, nil
}

// isFork says whether a child of a master is one of gunicorn's own processes, such as a
// worker: it has the words of its master, or those that setproctitle gives it.
func isFork(child int) bool {
	is, err := runs(child)
	return err == nil && is
}

// handlesAll says whether a process handles what only a gunicorn master does all
// of: its workers and its dirty arbiter give some of these up as soon as they have
// been forked.
func handlesAll(pid int) bool {
	caught, err := proc.Set(pid, "SigCgt")
	for _, sig := range []unix.Signal{unix.SIGHUP, unix.SIGUSR2, unix.SIGTTIN, unix.SIGTTOU} {
		if err != nil || caught&(1<<(sig-1)) == 0 {
			return false
		}
	}
	return true
}

// succeeds says which master a process, which handles what masters do, is the
// successor of, and whether that is sure: its environment may be kept from us, or
// setproctitle may have written over it. Then it is its parent's if it has children: a
// worker that has just been forked has none.
func succeeds(pid int, words []string) (old int, sure bool, err error) {
	old, err = parentMaster(pid)
	if err == nil && (old != 0 || intact(words)) {
		return old, true, nil
	}
	if err != nil && !errors.Is(err, fs.ErrPermission) {
		return 0, false, err
	}
	children, err := proc.Children(pid)
	if err != nil || len(children) == 0 {
		return 0, false, err
	}
	info, err := proc.Stat(pid)
	return info.Parent, false, err
}

// intact says whether a process has the words still that gunicorn was started with,
// and so its environment, which comes after them: setproctitle writes over both.
func intact(words []string) bool {
	_, is, titled := readLine(words)
	return is && !titled
}

// titledMaster says whether setproctitle has called a process a master.
func titledMaster(words []string) bool {
	_, _, titled := readLine(words)
	return titled && strings.HasPrefix(words[0], "gunicorn: master")
}

// isOther says whether a process is a gunicorn master that somebody has started. One
// that has the words of its parent is a fork of it: an application may handle any
// signal, and what it forks does then, too.
func isOther(pid int, words []string, parent int) (bool, error) {
	if _, _, titled := readLine(words); titled && !titledMaster(words) {
		return false, nil
	}
	parents, err := proc.Cmdline(parent)
	if err != nil || slices.Equal(words, parents) {
		return false, err
	}
	if isGunicorn(words) {
		return true, nil
	}
	beats, err := heartbeats(pid) // of a program that has gunicorn in it
	return len(beats) > 0, err
}

// Late waits for the successor that a USR2 of ours may still bring up, after a
// Spawn that has given up: the master may be stopped, or busy. It is nil as soon as
// it is known that none will come. The error is an *ExitError where the master
// ends, or ctx's. Like Spawn it is for one goroutine at a time.
func (m *Master) Late(ctx context.Context) (*Master, error) {
	taken := turns{pid: m.PID()}
	for begun := time.Now(); m.asked; {
		next, unseen := m.successor()
		if next != nil {
			return next, nil
		}
		if unseen == nil && taken.over() {
			m.asked = false
			break
		}
		if err := pauseFor(ctx, m.Process, seldomer(begun)); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// turns tells when a master has done what a USR2 asks it for.
type turns struct {
	pid   int
	since time.Time // when it was first seen that no USR2 waits; zero: one does, or may
	first uint64    // how often it had waited by then
}

// over says that no USR2 waits in the kernel, that the master's loop has turned since
// (see Promoted), for at least forkGrace, and that no fork of it is on its way to be
// a successor, with its master's handlers. What cannot be read says nothing.
func (t *turns) over() bool {
	const two = 2 // the first turn may have begun before
	pending, err := proc.Set(t.pid, "ShdPnd")
	waits, err2 := proc.Count(t.pid, "voluntary_ctxt_switches")
	children, err3 := proc.Children(t.pid)
	if errors.Join(err, err2, err3) != nil || pending&(1<<(unix.SIGUSR2-1)) != 0 || slices.ContainsFunc(children, handlesAll) {
		t.since = time.Time{}
		return false
	}
	if t.since.IsZero() {
		t.since, t.first = time.Now(), waits
	}
	return time.Since(t.since) >= forkGrace && waits >= t.first+two
}
