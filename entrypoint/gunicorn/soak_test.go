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
