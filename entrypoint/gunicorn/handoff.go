package gunicorn

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stablehand/stablehand/reaper"
)

// ErrLost is the error of a soak in which a worker was lost.
var ErrLost = errors.New("a worker was lost")

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
func (m *Master) Spawn(ctx context.Context) (next *Master, ours bool, err error) {
	if err := m.canExec(); err != nil {
		return nil, false, err
	}
	m.before = make(map[int]bool)
	for _, pid := range reaper.Children(m.PID()) {
		m.before[pid] = true
	}
	var asked time.Time
	for {
		if next = m.successor(); next != nil {
			return next, !asked.IsZero(), nil
		}
		wait := lookEvery
		if time.Since(asked) < lookCloselyIn {
			wait = lookClosely
		}
		err = pauseFor(ctx, m.Process, wait)
		if err != nil && time.Since(asked) > forkGrace {
			return nil, false, err
		}
		if err != nil {
			time.Sleep(lookEvery)
			continue
		}
		if time.Since(asked) > askAgain && m.Handles(unix.SIGUSR2) {
			if err := m.Signal(unix.SIGUSR2); err != nil && !errors.Is(err, os.ErrProcessDone) {
				return nil, false, err
			}
			asked = time.Now()
		}
	}
}

// canExec makes sure that USR2 will get as far as a new program. Where its exec
// fails, the child that gunicorn has forked is still a copy of the master, goes
// through the copy's shutdown, and so kills the master's own workers (seen on
// 20.1.0 to 27.0.1 with an interpreter that had gone).
func (m *Master) canExec() error {
	if m.interpreter != "" { // known, see interpreter
		if err := unix.Access(m.interpreter, unix.X_OK); err != nil {
			return fmt.Errorf("gunicorn's interpreter %s cannot be run: %w", m.interpreter, err)
		}
	}
	if m.dir == "" {
		return nil // not known, see startDir
	}
	if info, err := os.Stat(m.dir); err != nil || !info.IsDir() {
		return fmt.Errorf("gunicorn's working directory %s has gone", m.dir)
	}
	return nil
}

// interpreter is the path by which gunicorn execs its successor's Python: its
// own sys.executable, symlinks and all. Python makes it of the word that it was
// started by, which is found in PATH, or taken from the directory that was the
// working one then, see beganIn. It is empty where none of these is a program, or
// we may not look.
func interpreter(pid int) string {
	argv := cmdline(pid)
	if len(argv) == 0 {
		return ""
	}
	word := argv[0]
	if path.IsAbs(word) {
		return word
	}
	if !python.MatchString(path.Base(word)) {
		return "" // setproctitle has written over it
	}
	var dirs []string
	if strings.Contains(word, "/") {
		dirs = beganIn(pid)
	} else {
		search, _ := environ(pid, "PATH")
		dirs = strings.Split(search, ":")
	}
	for _, dir := range dirs {
		file := path.Join(dir, word)
		info, err := os.Stat(file)
		if path.IsAbs(file) && err == nil && info.Mode().IsRegular() && unix.Access(file, unix.X_OK) == nil {
			return file
		}
	}
	return ""
}

// beganIn lists the directories that may have been the working one when a process
// was started, the likeliest first, by their names without symlinks: those are what
// Python takes. Where PWD names the one that it is in now, this it was. Otherwise
// either gunicorn has changed to it since, from stablehand's own or from the one that
// a shell had changed to, or PWD is of a shell further up, and says nothing.
func beganIn(pid int) []string {
	link := fmt.Sprintf("/proc/%d/cwd", pid)
	cwd, _ := os.Readlink(link)
	ours, _ := os.Readlink("/proc/self/cwd")
	pwd, _ := environ(pid, "PWD")
	if sameDir(pwd, link) {
		return []string{cwd}
	}
	pwd, _ = filepath.EvalSymlinks(pwd)
	return []string{ours, cwd, pwd}
}

// startDir is the name of the directory in which gunicorn starts its successor:
// that of its working directory once it had read its configuration, as
// util.getcwd finds it. It is PWD's where that names the same directory, a
// symlink perhaps. It is empty where we may not look.
func startDir(pid int) string {
	link := fmt.Sprintf("/proc/%d/cwd", pid)
	if pwd, err := environ(pid, "PWD"); err == nil && sameDir(pwd, link) {
		return pwd
	}
	dir, _ := os.Readlink(link)
	return strings.TrimSuffix(dir, " (deleted)")
}

// sameDir says whether two paths lead to the same directory.
func sameDir(a, b string) bool {
	one, err := os.Stat(a)
	other, err2 := os.Stat(b)
	return err == nil && err2 == nil && os.SameFile(one, other)
}

// successor finds the new master among the children of this one, or of ours
// when this one has gone, by its environment: gunicorn gives it the old one's
// pid in GUNICORN_PID. It is another program for the instant between fork and
// exec, and not found then. It is nil if there is none.
func (m *Master) successor() *Master {
	children := reaper.Children(m.PID())
	if m.Dead() {
		children = reaper.Children(os.Getpid())
	}
	for _, pid := range children {
		old, _ := parentMaster(pid)
		if old != m.PID() && !(old == 0 && m.looksNew(pid)) {
			continue
		}
		if !alive(pid) {
			continue
		}
		if p, err := m.reaper.Open(pid); err == nil {
			m.next = &Master{Process: p, reaper: m.reaper, parent: m.PID()}
			return m.next
		}
	}
	return nil
}

// looksNew tells the new master from a new worker where the environment does
// not: it may not be readable, and setproctitle writes over it. A worker gives
// up its master's handlers as soon as it has been forked, and has no children.
func (m *Master) looksNew(child int) bool {
	return !m.before[child] && handles(child, unix.SIGUSR2) && len(reaper.Children(child)) > 0
}

// Promoted waits until the master, whose parent has gone, has seen that it
// has: only then will it take a USR2. It looks once in each turn of its loop,
// and each turn has it wait once, which the process table counts.
func (m *Master) Promoted(ctx context.Context) error {
	const turn = 2 // the first may have begun before the parent went
	var first uint64
	for {
		info, err := reaper.Stat(m.PID())
		waits, werr := status(m.PID(), "voluntary_ctxt_switches", 10)
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
func (m *Master) Forget() { m.next = nil }
