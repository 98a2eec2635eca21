package gunicorn

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

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
	if !alive(pid) || ours(pid) {
		return nil, os.Remove(pidfile)
	}
	if beats, _ := heartbeats(pid); len(beats) == 0 && !runs(pid) {
		return nil, fmt.Errorf("pidfile %s names process %d, which is %w", pidfile, pid, ErrNoMaster)
	}
	p, err := r.Open(pid)
	if err != nil {
		return nil, err
	}
	m := &Master{Process: p, reaper: r}
	m.successor() // of a handoff that was under way when its owner died
	return m, nil
}

// ours says whether a pid is stablehand's own, or that of one of its threads:
// in a new container these come first, and are likely in an old pidfile.
// gunicorn takes both for a gunicorn that runs.
func ours(pid int) bool {
	tgid, err := status(pid, "Tgid", 10)
	return err == nil && int(tgid) == os.Getpid()
}

// HasSuccessor says whether a successor is there that nobody looks after.
func (m *Master) HasSuccessor() bool { return m.next != nil }

// Daemonised says whether a gunicorn has been left to us by a command that has
// ended: it has daemonised itself, by its configuration. Its forks end while
// they are being listed, so that only two looks without any process mean that
// there is none.
func Daemonised() bool {
	for empty := 0; empty < 2; time.Sleep(lookEvery) {
		children := reaper.Children(os.Getpid())
		for _, pid := range children {
			if _, ok := findMaster(pid); ok {
				return true
			}
		}
		empty++
		if slices.ContainsFunc(children, alive) {
			return false // a process of another kind
		}
	}
	return false
}

// Twin is the pid of a gunicorn that runs elsewhere with the same words, after
// the first, as a command that has ended; 0 if there is none. It may hold the
// address that the command was refused: one whose stablehand was killed, and
// that cannot be adopted without a pidfile.
func Twin(argv []string) int {
	words := argv[1:]
	if len(words) == 0 {
		return 0 // any other gunicorn could be meant
	}
	own := reaper.Descendants(os.Getpid())
	pid, _ := topmost(1, func(pid int) bool {
		line := cmdline(pid)
		return runs(pid) && len(line) > len(words) && slices.Equal(line[len(line)-len(words):], words) &&
			!slices.ContainsFunc(own, func(o reaper.Info) bool { return o.PID == pid })
	})
	return pid
}

func alive(pid int) bool {
	info, err := reaper.Stat(pid)
	return err == nil && info.Alive()
}
