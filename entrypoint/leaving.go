package entrypoint

import (
	"context"
	"log/slog"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stablehand/stablehand/entrypoint/gunicorn"
	"github.com/stablehand/stablehand/entrypoint/life"
)

// leaving is a gunicorn of the command that a stablehand which was killed had told to end.
// Another one is started when it has ended: nothing serves until then.
type leaving struct {
	log   *slog.Logger
	pid   int // of which it was said
	begun time.Time
	spent time.Time // since when it holds nothing any more; zero: it does, or did at the last look
}

// leavingAgain is the pause between two looks at whether a gunicorn is leaving.
const leavingAgain = 2 * time.Second

// wait waits for its end, a pause at the most. What holds nothing any more, and goes on for
// life.SpentFor, is killed: else one that never ends, as where a thread keeps Python from
// it, would keep the site down. One that comes up has nothing yet, and no handlers. It says
// whether it may be looked at again: not after a stop.
func (l *leaving) wait(stop context.Context, m *gunicorn.Master) (again bool) {
	if l.pid != m.PID() {
		l.pid, l.begun, l.spent = m.PID(), time.Now(), time.Time{}
		l.log.Info("a gunicorn of this command has been told to end: another one is started when it has", "pid", m.PID(), "serving", 0)
	}
	switch {
	case !m.Spent() || !m.Handles(unix.SIGUSR2):
		l.spent = time.Time{}
	case l.spent.IsZero():
		l.spent = time.Now()
	case time.Since(l.spent) >= life.SpentFor:
		l.kill(m)
	}
	select {
	case <-m.Done():
	case <-time.After(leavingAgain): // should it have looked so without leaving
	case <-stop.Done():
		return false
	}
	return true
}

func (l *leaving) kill(m *gunicorn.Master) {
	attrs := []any{"pid", m.PID(), "reason", life.Spent, "took", time.Since(l.begun).Round(time.Millisecond), "serving", 0}
	l.log.Warn("it does not end: killing it", append(attrs, life.WhenSpent()...)...)
	l.spent = time.Time{} // what SIGKILL does not end, as in a disk wait, is said again only after a while
	ctx, cancel := context.WithTimeout(context.Background(), endLimit)
	defer cancel()
	if err := (master{m}).Clear(ctx, 0); err != nil {
		l.log.Error("cannot end it", "pid", m.PID(), "reason", err, "serving", 0)
	}
}
