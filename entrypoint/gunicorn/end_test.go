package gunicorn

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stablehand/stablehand/internal/proc"
	"github.com/stablehand/stablehand/reaper"
)

// Who has ended a master goes by its Done, which a busy machine may close long after
// the process has left the process table.
func TestAMasterHasNotEndedBeforeItIsKnown(t *testing.T) {
	r, err := reaper.New()
	if err != nil {
		t.Fatal(err)
	}
	m := &Master{Process: shell(t, r, "exec sleep 3600"), reaper: r}
	r.Close() // nobody tells of a death any more
	unknown := errors.New("not known")
	ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, unknown)
	defer cancel()
	if err := m.End(ctx, 0); err != unknown {
		t.Errorf("%v, want that its end is not known", err)
	}
	if proc.Alive(m.PID()) {
		t.Error("it lives")
	}
}
