package gunicorn

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/stablehand/stablehand/internal/deaf"
	"github.com/stablehand/stablehand/internal/proc"
	"github.com/stablehand/stablehand/internal/small"
)

// second is where a successor writes its pid before it is promoted.
func second(pidfile string) string { return pidfile + ".2" }

// readPid is the pid in a pidfile; 0 where there is no file, or none in it, which
// gunicorn takes for stale, too.
func readPid(pidfile string) (int, error) {
	const most = 64 // more is no number
	ctx, cancel := context.WithTimeout(context.Background(), answerLimit)
	defer cancel()
	b, _, err := small.Read(ctx, pidfile, most, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("gunicorn's pidfile: %w", err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || pid < 0 {
		return 0, nil
	}
	return pid, nil
}

// removePidfile removes the pidfile of a successor that has gone: the next one would
// take whoever has that pid by then for a gunicorn that runs. It waits as long as ctx
// allows.
func (m *Master) removePidfile(ctx context.Context) {
	if m.pidfile == "" {
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		deaf.Call(func() {
			if pid, err := readPid(second(m.pidfile)); err == nil && pid == m.PID() {
				_ = os.Remove(second(m.pidfile)) // else gunicorn says so, should it matter
			}
		})
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// removeStale removes what gunicorn would take for the pidfile of a gunicorn that runs:
// it asks no more than whether there is such a pid, and our own threads have some now.
func (a adoption) removeStale(old int) error {
	if old == 0 || unix.Kill(old, 0) != nil {
		return nil
	}
	return os.Remove(a.pidfile)
}

// removeSecond removes a successor's pidfile that names none of the command's own. The
// next successor would ask as little, and anybody may have that pid then. Where it
// cannot be removed gunicorn says so, should it matter.
func (a adoption) removeSecond(next int) {
	if next == 0 {
		return
	}
	if info, err := proc.Stat(next); err == nil && info.Alive() && a.examine(info) == nil {
		return
	}
	_ = os.Remove(second(a.pidfile))
}
