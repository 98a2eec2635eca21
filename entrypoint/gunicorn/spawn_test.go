package gunicorn

import (
	"context"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stablehand/stablehand/internal/proc"
)

// A successor that somebody else has asked for may have been listed with the old
// generation before it was known for what it is.
func TestSuccessorIsNoPartOfTheOldGeneration(t *testing.T) {
	m, _ := serve(t, "27.0.1", "--workers=2")
	before := children(t, m.PID())
	if err := m.Signal(unix.SIGUSR2); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(deadline); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if list, err := m.Processes(); err != nil {
			t.Fatal(err)
		} else if len(list) > len(before)+3 {
			break // the successor, and a worker of it
		}
	}
	next, ours, err := m.Spawn(limited(t))
	if err != nil || ours {
		t.Fatalf("%v, ours %v, want one that somebody else has asked for", err, ours)
	}
	list, err := m.Processes()
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := proc.Tree(next.PID())
	if err != nil {
		t.Fatal(err)
	}
	for _, info := range list {
		if slices.ContainsFunc(theirs, func(i proc.Info) bool { return i.PID == info.PID }) {
			t.Errorf("process %d of the successor is listed with the old generation", info.PID)
		}
	}
}

// A successor that somebody has told to end, and that waits for its workers, is none.
func TestASuccessorOnItsWayOutIsWaitedFor(t *testing.T) {
	m, _ := serve(t, "27.0.1", "--workers=1", "--graceful-timeout=2")
	if err := m.Signal(unix.SIGUSR2); err != nil {
		t.Fatal(err)
	}
	leaving, _, err := m.Spawn(limited(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := leaving.Ready(limited(t), 0, func(Workers) {}); err != nil {
		t.Fatal(err)
	}
	for _, worker := range children(t, leaving.PID()) {
		_ = unix.Kill(worker, unix.SIGSTOP) // so that it holds its master up
	}
	if err := leaving.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(deadline); leaving.listens() && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	next, ours, err := m.Spawn(limited(t))
	if err != nil || !ours || next.PID() == leaving.PID() {
		t.Fatalf("%v, ours %v, want another than %d, which is leaving", err, ours, leaving.PID())
	}
	if err := next.Ready(limited(t), 0, func(Workers) {}); err != nil {
		t.Error(err)
	}
}

func TestNothingIsSentWhereThereIsNoRoom(t *testing.T) {
	m, _ := serve(t, "27.0.1", "--workers=2")
	dir := fmt.Sprintf("/sys/fs/cgroup/pids/stablehand-test-%d", os.Getpid())
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Skipf("needs a pids controller to write to: %v", err)
	}
	t.Cleanup(func() {
		for end := time.Now().Add(deadline); os.Remove(dir) != nil && time.Now().Before(end); {
			time.Sleep(time.Millisecond)
		}
	})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), deadline)
		defer cancel()
		m.End(ctx, 0)
		if next := m.next.Load(); next != nil {
			next.End(ctx, 0)
		}
	})
	for _, pid := range append(children(t, m.PID()), m.PID()) {
		if err := os.WriteFile(dir+"/cgroup.procs", []byte(fmt.Sprint(pid)), 0); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(dir + "/pids.current")
	if err != nil {
		t.Skipf("needs a pids controller: %v", err)
	}
	var there int
	fmt.Sscan(string(b), &there)
	if err := os.WriteFile(dir+"/pids.max", []byte(fmt.Sprint(there+2)), 0); err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("no room for 3 more processes: pids.max of %s is %d, and %d are there", dir, there+2, there)
	if _, _, err := m.Spawn(limited(t)); err == nil || err.Error() != want || advice(err) != "raise it" {
		t.Errorf("%v (%s), want %s", err, advice(err), want)
	}
	if err := os.WriteFile(dir+"/pids.max", []byte(fmt.Sprint(there+3)), 0); err != nil {
		t.Fatal(err)
	}
	next, ours, err := m.Spawn(limited(t))
	if err != nil || !ours {
		t.Fatalf("with room: %v, ours %v", err, ours)
	}
	if err := next.Ready(limited(t), 2, func(Workers) {}); err != nil {
		t.Errorf("with just enough room: %v", err)
	}
}
