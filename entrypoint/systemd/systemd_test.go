package systemd

import (
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// patience is for what is sure to come, on a machine however busy.
const patience = time.Minute

func TestWhatIsToldArrivesInOrder(t *testing.T) {
	leaksNothing(t)
	m := manages(t)
	n := New(slog.New(slog.DiscardHandler))
	n.Status("booting")
	n.Ready("serving 1")
	n.Reloading("handing off\nSTOPPING=1\x00\xff to 2")
	n.Watchdog()
	n.Stopping(strings.Repeat("ü", maxStatus))
	for _, want := range []string{
		"STATUS=booting",
		"READY=1\nSTATUS=serving 1",
		"RELOADING=1\nMONOTONIC_USEC=N\nSTATUS=handing off STOPPING=1  to 2",
		"WATCHDOG=1",
		"STOPPING=1\nSTATUS=" + strings.Repeat("ü", maxStatus/2),
	} {
		if got := m.hears(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if !n.Close(patience) {
		t.Error("it was not sent in time")
	}
}

// A manager that listens again hears what is newest, in order.
func TestAManagerThatDoesNotListenHoldsNobodyUp(t *testing.T) {
	leaksNothing(t)
	m := manages(t)
	n := New(slog.New(slog.DiscardHandler))
	const all = 10_000 // far more than a socket holds
	n.Reloading("handing off")
	n.Ready("serving 2")
	for i := range all {
		n.Status(strconv.Itoa(i))
		n.Watchdog()
	}
	n.mu.Lock()
	if len(n.queue) > maxQueue {
		t.Errorf("%d messages are queued", len(n.queue))
	}
	n.mu.Unlock()

	var states []string
	last, pings := -1, 0
	for last < all-1 {
		switch heard := m.hears(); {
		case heard == "WATCHDOG=1":
			pings++
		case strings.HasPrefix(heard, "STATUS="):
			i, err := strconv.Atoi(strings.TrimPrefix(heard, "STATUS="))
			if err != nil || i <= last {
				t.Fatalf("got %q after %d", heard, last)
			}
			last = i
		default:
			states = append(states, heard)
		}
	}
	if want := []string{"RELOADING=1\nMONOTONIC_USEC=N\nSTATUS=handing off", "READY=1\nSTATUS=serving 2"}; !cmp.Equal(states, want) {
		t.Errorf("got %q, want %q", states, want)
	}
	if pings > all/2 {
		t.Errorf("%d pings, want fewer", pings)
	}
	n.Close(patience)
}

// Whatever is told after it, and however much: the newest state gets through.
func TestTheNewestStateIsNotDropped(t *testing.T) {
	leaksNothing(t)
	m := manages(t)
	n := New(slog.New(slog.DiscardHandler))
	for i := range 1000 {
		n.Ready(fmt.Sprint(i))
	}
	for range 1000 {
		n.Watchdog()
		n.Status("still")
	}
	for heard := ""; heard != "READY=1\nSTATUS=999"; {
		heard = m.hears()
	}
	n.Close(0) // what came after it is not listened to
}

func TestTheEndDoesNotWaitForAManagerThatDoesNotListen(t *testing.T) {
	leaksNothing(t)
	manages(t)
	n := New(slog.New(slog.DiscardHandler))
	for i := range 1000 {
		n.Ready(fmt.Sprint(i))
	}
	if n.Close(10 * time.Millisecond) {
		t.Error("all is said to be sent, and nobody has listened")
	}
	n.Status("late")
	n.Close(patience)
}

func TestNothingRunsWhereNobodyWantsToBeTold(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	before := runtime.NumGoroutine()
	n := New(slog.New(slog.DiscardHandler))
	n.Ready("serving")
	n.Watchdog()
	if runtime.NumGoroutine() > before {
		t.Error("something runs")
	}
	if !n.Close(0) {
		t.Error("something is to be sent")
	}
}

// What is told while there is no socket is lost; what comes then is not.
func TestAManagerMayComeBack(t *testing.T) {
	leaksNothing(t)
	m := manages(t)
	n := New(slog.New(slog.DiscardHandler))
	m.Close()
	n.Ready("nobody hears")
	n.Close(patience)
	os.Remove(m.path)
	m = listens(t, m.path)
	n.Ready("serving")
	if got := m.hears(); got != "READY=1\nSTATUS=serving" {
		t.Errorf("got %q", got)
	}
	n.Close(patience)
}

func TestTheWatchdogIsOurs(t *testing.T) {
	own := strconv.Itoa(os.Getpid())
	for _, test := range []struct {
		usec, pid string
		want      time.Duration
	}{
		{"", "", 0},
		{"1500000", "", 1500 * time.Millisecond},
		{"1500000", own, 1500 * time.Millisecond},
		{"1500000", "1" + own, 0},
		{"soon", own, 0},
		{"-1", "", 0},
	} {
		t.Setenv("WATCHDOG_USEC", test.usec)
		t.Setenv("WATCHDOG_PID", test.pid)
		if got := WatchdogEvery(); got != test.want {
			t.Errorf("%+v: got %v", test, got)
		}
	}
}

func TestSocketsAreOurs(t *testing.T) {
	if os.Getenv("TEST_SOCKETS") != "" {
		os.Setenv("LISTEN_PID", strings.Replace(os.Getenv("LISTEN_PID"), "own", strconv.Itoa(os.Getpid()), 1))
		fmt.Println("sockets:", Sockets())
		return
	}
	for _, test := range []struct{ pid, fds, want string }{
		{"own", "2", "[3 4]"},
		{"own", "1", "[3]"},
		{"own", "0", "[]"},
		{"own", "-1", "[]"},
		{"own", "many", "[]"},
		{"own", "", "[]"},
		{"1", "2", "[]"},
		{"", "2", "[]"},
	} {
		cmd := exec.Command(os.Args[0], "-test.run=TestSocketsAreOurs")
		cmd.Env = append(os.Environ(), "TEST_SOCKETS=1", "GORACE=atexit_sleep_ms=0", "LISTEN_PID="+test.pid, "LISTEN_FDS="+test.fds)
		cmd.ExtraFiles = []*os.File{os.Stdin, os.Stdin}
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "sockets: "+test.want+"\n") {
			t.Errorf("%+v: %v\n%s", test, err, out)
		}
	}
}

func TestWhatIsForUsAloneIsNotHandedOn(t *testing.T) {
	env := []string{"A=1", "NOTIFY_SOCKET=/n", "WATCHDOG_USEC=1", "WATCHDOG_PID=2", "NOTIFY_SOCKETS=3", "LISTEN_FDS=1", "B"}
	before := append([]string(nil), env...)
	want := []string{"A=1", "NOTIFY_SOCKETS=3", "LISTEN_FDS=1", "B"}
	if diff := cmp.Diff(want, Environ(env)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if !cmp.Equal(before, env) {
		t.Error("the environment that was given has changed")
	}
}

// manager listens as a service manager does, when it is asked what it hears.
type manager struct {
	*net.UnixConn
	t    *testing.T
	path string
}

func manages(t *testing.T) *manager {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	t.Setenv("NOTIFY_SOCKET", path)
	return listens(t, path)
}

func listens(t *testing.T, path string) *manager {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: path})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &manager{conn, t, path}
}

// hears is the next message, without the time in it.
func (m *manager) hears() string {
	m.t.Helper()
	m.SetReadDeadline(time.Now().Add(patience))
	b := make([]byte, 4096)
	n, err := m.Read(b)
	if err != nil {
		m.t.Fatal(err)
	}
	lines := strings.Split(string(b[:n]), "\n")
	for i, line := range lines {
		if usec, ok := strings.CutPrefix(line, "MONOTONIC_USEC="); ok {
			if _, err := strconv.ParseUint(usec, 10, 64); err != nil {
				m.t.Errorf("got %q", line)
			}
			lines[i] = "MONOTONIC_USEC=N"
		}
	}
	return strings.Join(lines, "\n")
}

// leaksNothing has the test fail that leaves a goroutine.
func leaksNothing(t *testing.T) {
	before := runtime.NumGoroutine()
	t.Cleanup(func() {
		for until := time.Now().Add(patience); runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
			if time.Now().After(until) {
				t.Fatalf("%d goroutines are left", runtime.NumGoroutine()-before)
			}
		}
	})
}
