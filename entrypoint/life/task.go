package life

import (
	"context"
	"runtime"
	"time"

	"github.com/stablehand/stablehand/entrypoint/status"
)

// stillEvery is how often a task that takes long says that it goes on. One that
// waits for the command to become a gunicorn may wait for ever, and says so ever
// more seldom, until stillAtMost.
const (
	stillEvery  = 10 * time.Second
	stillAtMost = 5 * time.Minute
)

// step is where a task stands.
type step struct {
	name    status.Step
	since   time.Time
	said    time.Time      // when it was last said that it goes on
	pause   time.Duration  // until it is said again
	workers status.Workers // that the task has brought up
	most    int            // how many there are to be, as far as is known
	answers string         // what has come of asking it, see probe

	hopeless time.Time // from when on it is, since a worker was lost; zero: it is not
	endless  time.Time // the same, since as many were lost as there are to be
	saidLost bool      // what is to be said or done about that has been
}

// begin starts a task. What the task returns is run by the loop when it ends.
func (l *Life) begin(name status.Step, task func(ctx context.Context) func()) {
	ctx, cancel := context.WithCancelCause(context.Background())
	l.cancel, l.step = cancel, step{}
	l.enters(name)
	go func() {
		last := task(ctx)
		l.note(func() {
			cancel(nil)
			l.cancel = nil
			last()
		})
	}()
}

// note has the loop run f, and waits for it: for tasks. A task that outlives the
// loop ends here.
func (l *Life) note(f func()) {
	ran := make(chan struct{})
	select {
	case l.notes <- func() { f(); close(ran) }:
		<-ran
	case <-l.ended:
		runtime.Goexit()
	}
}

// enter notes that the task has come to its next step.
func (l *Life) enter(name status.Step) { l.note(func() { l.enters(name) }) }

func (l *Life) enters(name status.Step) {
	now := time.Now()
	l.step = step{name: name, since: now, said: now, pause: stillEvery, workers: l.step.workers, most: l.step.most}
	if l.now != nil {
		l.tellManager()
	}
	l.tellFollowers()
}

// workers notes what is known of the workers that are coming up.
func (l *Life) workers(w status.Workers) {
	l.note(func() {
		if w.Blind && !l.blind {
			l.blind = true
			l.log.Warn("cannot read worker heartbeats: a generation counts as ready when it has lived with workers for a while",
				append([]any{"reason", w.BlindReason}, toDo(w.BlindDo)...)...)
		}
		if w.Reloads && !l.reloads {
			l.reloads = true
			l.log.Warn("gunicorn's own reloader is on: a file that is saved with an error in it ends the container, or is served",
				toDo("set reload = False in gunicorn's configuration, and name what matters in STABLEHAND_WATCH, such as **/*.py")...)
		}
		l.step.workers, l.step.most = w, max(l.step.most, w.All)
		l.tellFollowers()
		l.log.Debug("workers", append([]any{"step", l.step.name}, workersNow(w)...)...)
		l.step.lose(w)
	})
}

// still fires when a task has been silent for long.
func (l *Life) still() <-chan time.Time {
	if l.cancel == nil {
		return nil
	}
	return time.After(time.Until(l.step.said.Add(l.step.pause)))
}

func (l *Life) sayStill() {
	l.step.said = time.Now()
	attrs := []any{"step", l.step.name}
	if l.now != nil {
		attrs = append([]any{"generation", l.now.Generation}, attrs...)
	}
	switch l.step.name {
	case status.Boot:
		l.step.pause = min(2*l.step.pause, stillAtMost)
		attrs = append(attrs, "reason", "no gunicorn is among the command's processes so far")
	case status.Room:
		attrs = append(attrs, memoryNow(*l.now.Memory)...)
	default:
		attrs = append(attrs, workersNow(l.step.workers)...)
	}
	if l.step.answers != "" {
		attrs = append(attrs, "reason", "probe: "+l.step.answers)
	}
	l.log.Info("still at it", append(attrs, "took", since(l.step.since), l.servesNow())...)
}
