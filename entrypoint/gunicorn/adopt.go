package gunicorn

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/stablehand/stablehand/internal/proc"
	"github.com/stablehand/stablehand/reaper"
)

// ErrNoMaster is the error of a pidfile that names a process of another kind.
// gunicorn does not start while that lives.
var ErrNoMaster = errors.New("alive but no gunicorn master")

// Adopt takes over the living master that a pidfile names, if there is one;
// it returns nil where there is not, and removes a file that is stale. The error
// wraps ErrNoMaster if the pid in it is alive and no gunicorn master.
func Adopt(r *reaper.Reaper, pidfile string) (*Master, error) {
	b, err := os.ReadFile(pidfile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read gunicorn's pidfile: %w", err)
	}
	var pid int
	if _, err := fmt.Sscan(string(b), &pid); err != nil || pid <= 0 {
		return nil, nil // gunicorn takes it for stale, too
	}
	if !proc.Alive(pid) || ours(pid) {
		return nil, os.Remove(pidfile)
	}
	is, err := isMaster(pid)
	if err != nil {
		return nil, fmt.Errorf("pidfile %s: %w", pidfile, err)
	}
	if !is {
		return nil, fmt.Errorf("pidfile %s names process %d, which is %w", pidfile, pid, ErrNoMaster)
	}
	p, err := r.Open(pid)
	if err != nil {
		return nil, err
	}
	m := &Master{Process: p, reaper: r}
	if _, err := m.successor(); err != nil { // of a handoff that was under way when its owner died
		return nil, err
	}
	return m, nil
}

// isMaster says whether a process holds heartbeats or runs gunicorn. Where we
// may not look for the first, only the second counts.
func isMaster(pid int) (bool, error) {
	beats, err := heartbeats(pid)
	if err != nil && !errors.Is(err, fs.ErrPermission) {
		return false, err
	}
	if len(beats) > 0 {
		return true, nil
	}
	return runs(pid)
}

// ours says whether a pid is stablehand's own, or that of one of its threads:
// in a new container these come first, and are likely in an old pidfile.
// gunicorn takes both for a gunicorn that runs. Where it cannot be read it is not
// ours: our own we can read.
func ours(pid int) bool {
	tgid, err := proc.Count(pid, "Tgid")
	return err == nil && int(tgid) == os.Getpid()
}

// HasSuccessor says whether a successor is there that nobody looks after.
func (m *Master) HasSuccessor() bool { return m.next.Load() != nil }

// Daemonised says whether a gunicorn has been left to us by a command that has
// ended: it has daemonised itself, by its configuration. Its forks end while
// they are being listed, so that only two looks without any process mean that
// there is none. What cannot be read is not known to be a gunicorn: this only
// chooses the words of a log.
func Daemonised() bool {
	for empty := 0; empty < 2; time.Sleep(lookEvery) {
		children, err := proc.Children(os.Getpid())
		for _, pid := range children {
			if _, ok, _ := findMaster(pid); ok {
				return true
			}
		}
		empty++
		if err != nil || slices.ContainsFunc(children, proc.Alive) {
			return false // a process of another kind, or nobody knows
		}
	}
	return false
}

// Twin is the pid of a gunicorn that runs elsewhere with the same words, after
// the first, as a command that has ended; 0 if there is none. It may hold the
// address that the command was refused: one whose stablehand was killed, and
// that cannot be adopted without a pidfile. What cannot be read is passed over:
// it is a hint for an operator.
func Twin(argv []string) int {
	words := argv[1:]
	if len(words) == 0 {
		return 0 // any other gunicorn could be meant
	}
	own, _ := proc.Descendants(os.Getpid())
	pid, _, _ := proc.Topmost(1, func(pid int, _ []int) (bool, error) {
		line, err := proc.Cmdline(pid)
		return isGunicorn(line) && len(line) > len(words) && slices.Equal(line[len(line)-len(words):], words) &&
			!slices.ContainsFunc(own, func(o proc.Info) bool { return o.PID == pid }), err
	})
	return pid
}
