package gunicorn

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stablehand/stablehand/internal/proc"
)

// A worker's file is there before its pre_fork, which may take long: the first
// worker beats in the moment before the file of the second is there, and is not
// all that there will be.
func TestReadyWaitsForWorkersThatAreForkedSlowly(t *testing.T) {
	config := filepath.Join(t.TempDir(), "slow.py")
	hook := "import time\ndef pre_fork(server, worker): time.sleep(1)\n"
	if err := os.WriteFile(config, []byte(hook), 0o644); err != nil {
		t.Fatal(err)
	}
	m, _ := serve(t, "27.0.1", "--workers=4", "--config="+config)
	if w := m.Workers(); w.All != 4 || w.Ready != 4 {
		t.Errorf("ready with %d of %d workers, and there are to be 4", w.Ready, w.All)
	}
}

// A master that waits in its loop has forked all of its workers; one that pauses
// between two forks has not, and is told from it by how it waits.
func TestTheLoopIsToldFromAPauseBetweenForks(t *testing.T) {
	for _, version := range []string{"25.3.0", "26.1.0", "27.0.1"} {
		m, _ := serve(t, version)
		seen(t, version+" is seen in its loop", m.loops)
	}

	python := func(what string) *Master {
		r := newReaper(t)
		return &Master{Process: shell(t, r, "exec python3 -c 'import queue, select, time; "+what+"'"), reaper: r}
	}
	for what, where := range map[string]string{"time.sleep(3600)": "nanosleep", "select.select([], [], [], 3600)": "poll"} {
		m := python(what)
		seen(t, what+" waits in "+where, func() bool {
			in, err := proc.WaitsIn(m.PID())
			return err == nil && (strings.Contains(in, where) || strings.Contains(in, "select"))
		})
		if m.loops() {
			t.Errorf("%s is taken for gunicorn's loop", what)
		}
	}
	m := python("queue.SimpleQueue().get(timeout=3600)")
	seen(t, "a queue is waited for as in the loop", m.loops)
}

// seen waits until something is.
func seen(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(deadline); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("not seen: " + what)
		}
	}
}
