package gunicorn

import (
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stablehand/stablehand/internal/proc"
)

// gunicorn 23 ignores INT while TERM is under way: its workers do not.
func TestHurryEndsWhatFinishesRequests(t *testing.T) {
	for _, version := range []string{"23.0.0", "27.0.1"} {
		t.Run(version, func(t *testing.T) {
			m, socket := serve(t, version, "--workers=2", "--graceful-timeout=50")
			slow(t, socket)
			if err := m.Signal(unix.SIGTERM); err != nil {
				t.Fatal(err)
			}
			for end := time.Now().Add(deadline); len(children(t, m.PID())) > 1 && time.Now().Before(end); {
				time.Sleep(time.Millisecond) // the idle worker ends
			}
			begun := time.Now()
			if err := m.Hurry(unix.SIGINT); err != nil {
				t.Error(err)
			}
			select {
			case <-m.Done():
				t.Logf("ended after %v: %v", time.Since(begun), m.Status())
			case <-time.After(30 * time.Second):
				t.Error("the master waits for its worker")
			}
		})
	}
}

// slow has a worker busy with a request, until the test ends.
func slow(t *testing.T, socket string) {
	t.Helper()
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	fmt.Fprint(conn, "GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
	accepted := func() bool {
		b, err := os.ReadFile("/proc/net/unix")
		if err != nil {
			t.Fatal(err)
		}
		connected := 0
		for line := range strings.Lines(string(b)) {
			// State 03 is SS_CONNECTED; the inode of one that nobody has accepted is 0.
			if f := strings.Fields(line); len(f) == 8 && f[7] == socket && f[5] == "03" && f[6] != "0" {
				connected++
			}
		}
		return connected > 0
	}
	for end := time.Now().Add(deadline); !accepted(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("nobody accepts")
		}
	}
	time.Sleep(200 * time.Millisecond) // for the request to be read: TERM ends a worker that has not
}

func TestHurryLeavesTheSuccessorAlone(t *testing.T) {
	m, _ := serve(t, "27.0.1", "--workers=1")
	next, _, err := m.Spawn(limited(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := next.Ready(limited(t), 1, func(Workers) {}); err != nil {
		t.Fatal(err)
	}
	old := slices.DeleteFunc(children(t, m.PID()), func(pid int) bool { return pid == next.PID() })
	if err := m.Hurry(unix.SIGQUIT); err != nil {
		t.Error(err)
	}
	for end := time.Now().Add(deadline); proc.Alive(old[0]) && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	if proc.Alive(old[0]) {
		t.Error("the worker goes on")
	}
	if err := next.Soak(t.Context(), 500*time.Millisecond); err != nil {
		t.Errorf("the successor: %v", err)
	}
}
