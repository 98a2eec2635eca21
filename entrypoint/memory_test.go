package entrypoint

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stablehand/stablehand/entrypoint/life"
	"github.com/stablehand/stablehand/entrypoint/status"
	"github.com/stablehand/stablehand/internal/small"
)

func TestALookAtMemoryThatHangsIsGivenUpAndTakenOnce(t *testing.T) {
	var m memory
	var looks atomic.Int32
	release := make(chan struct{})
	hangs := func() (status.Memory, error) {
		looks.Add(1)
		<-release
		return status.Memory{Free: 7}, nil
	}
	begun := time.Now()
	for range 2 {
		if _, err := m.ask(t.Context(), "what hangs", hangs); !errors.Is(err, small.ErrHangs) {
			t.Errorf("%v, want that it hangs", err)
		}
	}
	if took := time.Since(begun); took < 2*memoryLimit {
		t.Errorf("given up after %v", took)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := m.ask(ctx, "what hangs", hangs); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, where who asks has gone", err)
	}
	if n := looks.Load(); n != 1 {
		t.Errorf("it was asked %d times, want once", n)
	}
	close(release)
	if got, err := m.ask(t.Context(), "what hangs", hangs); err != nil || got.Free != 7 {
		t.Errorf("%+v, %v after it does not hang any more", got, err)
	}
}

// numbered is a generation of which only the pid matters.
type numbered struct {
	life.Generation
	pid int
}

func (n numbered) PID() int { return n.pid }

func TestWhatWasSeenOfMemoryIsThatOfTheGeneration(t *testing.T) {
	one, other := numbered{pid: 1}, numbered{pid: 2}
	m := memory{looking: true} // nobody takes another look
	if seen := m.Seen(one); seen != nil {
		t.Errorf("%+v before anybody has looked", seen)
	}
	m.keep(one, nil, func() { m.cost = &status.Memory{Takes: 100, Needed: 110} })
	if seen := m.Seen(one); seen != nil {
		t.Errorf("%+v, and nobody knows what is left", seen)
	}
	m.keep(one, nil, func() { m.left = &status.Memory{Free: 50, Limit: "memory.max"} })
	want := status.Memory{Free: 50, Limit: "memory.max", Takes: 100, Needed: 110}
	if seen := m.Seen(one); seen == nil || *seen != want {
		t.Errorf("%+v, want %+v", seen, want)
	}
	m.keep(one, errors.New("it cannot be read"), nil)
	if seen := m.Seen(one); seen == nil || *seen != want {
		t.Errorf("%+v after a look that failed, want %+v", seen, want)
	}
	if seen := m.Seen(other); seen != nil {
		t.Errorf("%+v of another generation", seen)
	}
	m.keep(other, nil, func() { m.left = &status.Memory{Free: 60} })
	if seen := m.Seen(other); seen != nil {
		t.Errorf("%+v, of which the cost is another's", seen)
	}
}
