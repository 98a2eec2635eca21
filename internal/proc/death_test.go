package proc

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// sleepers starts processes that sleep, and returns their pids.
func sleepers(t *testing.T, n int) []int {
	t.Helper()
	var pids []int
	for range n {
		cmd := exec.Command("sleep", "3600")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			cmd.Process.Kill()
			cmd.Wait()
		})
		pids = append(pids, cmd.Process.Pid)
	}
	return pids
}

func cpu(t *testing.T) time.Duration {
	t.Helper()
	var used unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &used); err != nil {
		t.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

func TestFirstDeathOfManyIsToldAndTheWaitCostsNothing(t *testing.T) {
	pids := sleepers(t, 500)
	goroutines := runtime.NumGoroutine()
	died, stop, err := FirstDeath(pids)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	if more := runtime.NumGoroutine() - goroutines; more > 1 {
		t.Errorf("%d goroutines wait, want one", more)
	}
	begun := cpu(t)
	select {
	case <-died:
		t.Fatal("a death is told of, and nobody has died")
	case <-time.After(2 * time.Second):
	}
	if used := cpu(t) - begun; used > 50*time.Millisecond {
		t.Errorf("%v of processor time in 2 s", used)
	}
	unix.Kill(pids[321], unix.SIGKILL)
	select {
	case <-died:
	case <-time.After(deadline):
		t.Error("the death is not told of")
	}
}

func TestFirstDeathBeforeTheCall(t *testing.T) {
	if _, stop, err := FirstDeath([]int{os.Getpid(), dead(t)}); !errors.Is(err, os.ErrProcessDone) {
		stop()
		t.Errorf("%v, want os.ErrProcessDone", err)
	}
	zombie := sleepers(t, 1)[0]
	unix.Kill(zombie, unix.SIGKILL)
	awaitState(t, zombie, 'Z')
	died, stop, err := FirstDeath([]int{os.Getpid(), zombie})
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	select {
	case <-died:
	case <-time.After(deadline):
		t.Error("a zombie is not told of")
	}
}

func TestFirstDeathLeavesNothingWhenStopped(t *testing.T) {
	pids := sleepers(t, 5)
	count := func() int {
		list, err := Descriptors(os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	goroutines, before := runtime.NumGoroutine(), count()
	for range 50 {
		died, stop, err := FirstDeath(pids)
		if err != nil {
			t.Fatal(err)
		}
		stop()
		select {
		case <-died:
			t.Error("a stop is told of as a death")
		default:
		}
	}
	if n := count(); n > before {
		t.Errorf("%d descriptors, %d before", n, before)
	}
	for end := time.Now().Add(deadline); runtime.NumGoroutine() > goroutines; runtime.Gosched() {
		if time.Now().After(end) { // the last one has done all but end
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), goroutines)
		}
	}
}
