package deaf

import (
	"os"
	"os/signal"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// mask is the set of signals that the thread which calls it does not take.
func mask(t *testing.T) string {
	t.Helper()
	status, err := os.ReadFile("/proc/thread-self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "SigBlk:")
	set, _, _ := strings.Cut(rest, "\n")
	return strings.TrimSpace(set)
}

func TestTheThreadTakesNoSignalMeanwhile(t *testing.T) {
	var within string
	Call(func() {
		before := mask(t)
		Call(func() { within = mask(t) })
		if after := mask(t); after != before {
			t.Errorf("%s is blocked after an inner call, and was %s before", after, before)
		}
	})
	// All but KILL and STOP, which cannot be, and SIGILL, TRAP, BUS, FPE, SEGV, URG, PROF and SYS.
	if want := "ffffffffbbbbfa27"; within != want {
		t.Errorf("%s is blocked, want %s", within, want)
	}
}

func TestOtherThreadsTakeThemAllTheSame(t *testing.T) {
	got := make(chan os.Signal, 1)
	signal.Notify(got, unix.SIGUSR1)
	defer signal.Stop(got)
	release, called := make(chan struct{}), make(chan struct{})
	defer close(release)
	for range 4 {
		go Call(func() { called <- struct{}{}; <-release })
		<-called
	}
	if err := unix.Kill(os.Getpid(), unix.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	select {
	case <-got:
	case <-time.After(time.Minute):
		t.Error("the signal has not come")
	}
}
