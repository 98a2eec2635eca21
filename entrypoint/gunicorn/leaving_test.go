package gunicorn

import (
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stablehand/stablehand/internal/proc"
)

// A master that finishes sleeps between two looks at its workers. On a machine that is busy
// it waits for a processor for most of the time.
func TestAMasterThatFinishesIsSeenToLeaveOnABusyMachine(t *testing.T) {
	r := newReaper(t)
	p := shell(t, r, `exec python3 -c '
import os, tempfile, time
heartbeat, path = tempfile.mkstemp(prefix="wgunicorn-")
os.unlink(path)
while True:
    end = time.monotonic() + 0.15
    while time.monotonic() < end:
        pass
    time.sleep(0.05)
'`)
	m := &Master{Process: p, reaper: r}
	for ctx := limited(t); ctx.Err() == nil; time.Sleep(lookEvery) {
		if where, err := proc.WaitsIn(p.PID()); err != nil || strings.Contains(where, "nanosleep") {
			break // it has begun
		}
	}
	if !m.Leaving() {
		t.Error("it does not leave, want that it does")
	}
	if err := p.Signal(unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-p.Done()
}
