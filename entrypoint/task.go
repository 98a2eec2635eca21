package entrypoint

import (
	"context"
	"time"

	"github.com/stablehand/stablehand/entrypoint/gunicorn"
)

// stillEvery is how often a task that takes long says that it goes on.
const stillEvery = 10 * time.Second

// step is where a task stands.
type step struct {
	name    string
	since   time.Time
	said    time.Time        // when it was last said that it goes on
	workers gunicorn.Workers // that the task has brought up
}

// begin starts a task. What the task returns is run by the loop when it ends.
func (l *loop) begin(name string, task func(ctx context.Context) func()) {
	ctx, cancel := context.WithCancelCause(context.Background())
	l.cancel, l.moved, l.step = cancel, false, step{}
	l.enters(name)
	go func() {
		last := task(ctx)
		l.notes <- func() {
			cancel(nil)
			l.cancel = nil
			last()
		}
	}()
}

// note has the loop run f, and waits for it: for tasks.
func (l *loop) note(f func()) {
	ran := make(chan struct{})
	l.notes <- func() { f(); close(ran) }
	<-ran
}

// enter notes that the task has come to its next step.
func (l *loop) enter(name string) { l.note(func() { l.enters(name) }) }

func (l *loop) enters(name string) {
	now := time.Now()
	l.step = step{name: name, since: now, said: now, workers: l.step.workers}
	if l.now != nil {
		l.notifyHandoff()
	}
	l.tell()
}

// workers notes what is known of the workers that are coming up.
func (l *loop) workers(w gunicorn.Workers) {
	l.note(func() {
		if w.Blind && !l.blind {
			l.blind = true
			l.log.Warn("cannot read worker heartbeats: a generation counts as ready when it has lived with workers for "+
				gunicorn.BlindFor.String(), "do", "run stablehand as gunicorn's user, or with the capability SYS_PTRACE")
		}
		l.step.workers = w
		l.tell()
		l.log.Debug("workers", append([]any{"step", l.step.name}, workersNow(w)...)...)
	})
}

// still fires when a task has been silent for long.
func (l *loop) still() <-chan time.Time {
	if l.cancel == nil {
		return nil
	}
	return time.After(time.Until(l.step.said.Add(stillEvery)))
}

func (l *loop) sayStill() {
	l.step.said = time.Now()
	attrs := []any{"step", l.step.name}
	if l.now != nil {
		attrs = []any{"generation", l.now.Generation, "step", l.step.name}
	}
	attrs = append(attrs, workersNow(l.step.workers)...)
	l.log.Info("still at it", append(attrs, "took", since(l.step.since), l.servesNow())...)
}
