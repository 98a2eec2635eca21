package gunicorn

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestSoakEndsWithTheFirstWorkerThatIsLost(t *testing.T) {
	m, _ := serve(t, "27.0.1", "--workers=3")
	if err := m.Soak(t.Context(), 100*time.Millisecond); err != nil {
		t.Errorf("%v, and no worker was lost", err)
	}
	soaked := make(chan error)
	go func() { soaked <- m.Soak(t.Context(), time.Hour) }()
	time.Sleep(100 * time.Millisecond) // either way it must be told
	begun := time.Now()
	unix.Kill(children(t, m.PID())[1], unix.SIGKILL)
	if err := <-soaked; !errors.Is(err, ErrLost) || !strings.HasSuffix(err.Error(), ": killed by SIGKILL") {
		t.Errorf("%v, want ErrLost and the signal", err)
	}
	t.Logf("told after %v", time.Since(begun))
	if err := m.Soak(t.Context(), 0); !errors.Is(err, ErrLost) {
		t.Errorf("%v where there is no time for it, want ErrLost", err)
	}
	if err := m.Soak(t.Context(), time.Hour); !errors.Is(err, ErrLost) {
		t.Errorf("%v for a worker that was lost before, want ErrLost", err)
	}
}

func TestSoakEndsWithItsMasterAndItsContext(t *testing.T) {
	m, _ := serve(t, "27.0.1", "--workers=2")
	why := errors.New("stopping")
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(50*time.Millisecond, func() { cancel(why) })
	if err := m.Soak(ctx, time.Hour); err != why {
		t.Errorf("%v, want the context's cause", err)
	}
	time.AfterFunc(50*time.Millisecond, func() { m.Signal(unix.SIGKILL) })
	var exit *ExitError
	if err := m.Soak(t.Context(), time.Hour); !errors.As(err, &exit) || exit.ExitCode() != 137 {
		t.Errorf("%v, want the master's end by SIGKILL", err)
	}
}

func TestManyWorkersCostNothingWhileTheySoak(t *testing.T) {
	if testing.Short() {
		t.Skip("it measures for 10 s")
	}
	r := newReaper(t)
	p := shell(t, r, "i=0; while [ $i -lt 500 ]; do sleep 3600 & i=$((i+1)); done; wait")
	for end := time.Now().Add(deadline); len(children(t, p.PID())) < 500 && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
	}
	m := &Master{Process: p, reaper: r}
	for _, pid := range children(t, p.PID()) {
		process, err := r.OpenIfRoom(pid)
		if err != nil {
			t.Fatal(err)
		}
		m.ledger.follow(pid, process)
		m.ledger.workers[pid].sure = true
	}
	const while = 10 * time.Second
	begun := cpu(t)
	if err := m.Soak(t.Context(), while); err != nil {
		t.Fatal(err)
	}
	used := cpu(t) - begun
	t.Logf("%d workers: %v of processor time in %v", len(m.ledger.workers), used, while)
	if used > while/20 {
		t.Errorf("%v of processor time in %v", used, while)
	}
}
