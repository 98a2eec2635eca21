package gunicorn

import (
	"os"
	"slices"
	"time"

	"github.com/stablehand/stablehand/internal/proc"
)

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
