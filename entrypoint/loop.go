package entrypoint

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"

	"github.com/stablehand/stablehand/entrypoint/control"
	"github.com/stablehand/stablehand/entrypoint/gunicorn"
	"github.com/stablehand/stablehand/entrypoint/watch"
	"github.com/stablehand/stablehand/reaper"
)

// maxRetry is where the pause between two tries of a failed handoff stops
// doubling.
const maxRetry = 5 * time.Minute

// loop is the container's life while its command is managed. All of it
// belongs to the goroutine in run. Boot and handoff are tasks, one at a time,
// in a goroutine of their own; what they find out they have the loop note.
type loop struct {
	config  Config
	reaper  *reaper.Reaper
	log     *slog.Logger
	started time.Time

	command   *launched   // nil where a running gunicorn was adopted
	serving   *generation // nil until the first is ready
	successor *generation // coming up: in boot generation 1, then a handoff's
	retiring  *generation // told to finish, once its successor serves
	numbered  int         // generations so far

	disk   watch.Content // what is watched holds this, as far as is known
	moved  bool          // it has changed since the task began
	counts totals

	notes  chan func()             // to be run by the loop: from the task, and from who asks
	ended  chan struct{}           // closed when the loop turns no more
	cancel context.CancelCauseFunc // ends the task; nil where none runs
	step   step                    // of the task
	now    *handing                // the handoff that is this task; nil if it is none
	last   *control.Handoff        // the last one that ended
	wanted *want                   // the next one, nil if there is none to come
	pause  time.Duration           // before the last retry of a failed handoff
	kept   []unix.Signal           // for the first master, once it serves
	blind  bool                    // it has been said that heartbeats cannot be read

	sleep sleep

	stopping  bool
	stopDelay <-chan time.Time // nil unless we still serve after SIGTERM
	kill      <-chan time.Time // nil unless STOP_TIMEOUT runs
	failed    bool             // boot has failed: exit with code
	code      int
}

// launched is what the container was started with: gunicorn's first master, or
// what has started it.
type launched struct {
	*reaper.Process
	Command
	ended bool // the loop has taken note of its end
}

// generation is one gunicorn master with its workers.
type generation struct {
	*gunicorn.Master
	number  int
	seen    time.Time     // since when it has been known
	since   time.Time     // since when it serves
	content watch.Content // of what is watched, that it has read; zero if nobody knows
	ended   bool          // the loop has taken note of its master's end
}

func newGeneration(m *gunicorn.Master, number int) *generation {
	return &generation{Master: m, number: number, seen: time.Now()}
}

// end is closed when the command ends, and nil where that is no news.
func (c *launched) end() <-chan struct{} {
	if c == nil || c.ended {
		return nil
	}
	return c.Done()
}

// end is closed when the master ends, and nil where that is no news.
func (g *generation) end() <-chan struct{} {
	if g == nil || g.ended {
		return nil
	}
	return g.Done()
}

// errStopping is why a task ends when stablehand is told to stop.
var errStopping = errors.New("stablehand is stopping")

func newLoop(c Config, r *reaper.Reaper, log *slog.Logger) *loop {
	return &loop{config: c, reaper: r, log: log, started: time.Now(),
		notes: make(chan func()), ended: make(chan struct{}), counts: newTotals()}
}

// run turns until the container's life is over, and returns its exit code.
func (l *loop) run(signals <-chan os.Signal, changes <-chan watch.Change) int {
	first := l.successor // where one was adopted
	watchdog := watchdog()
	l.begin("boot", func(ctx context.Context) func() { return l.boot(ctx, first) })
	for !l.over() {
		select {
		case sig := <-signals:
			l.signal(sig.(unix.Signal))
		case change := <-changes:
			l.changed(change)
		case note := <-l.notes:
			note()
		case <-l.due():
			l.beginHandoff()
		case <-l.command.end():
			l.command.ended = true
		case <-l.serving.end():
			l.serving.ended = true
			l.servingEnded()
		case <-l.successor.end():
			l.successor.ended = true
		case <-l.retiring.end():
			l.retiring.ended = true
		case <-l.stopDelay:
			l.terminate(unix.SIGTERM)
		case <-l.kill:
			l.killAll()
		case <-l.still():
			l.sayStill()
		case <-watchdog:
			l.notify(daemon.SdNotifyWatchdog)
			continue
		case <-l.rest():
			l.sleep.begin()
			continue
		}
		l.sleep.end()
	}
	l.unwant()
	close(l.ended)
	return l.leave()
}

// rest fires when nothing has happened for long, and no task runs.
func (l *loop) rest() <-chan time.Time {
	if l.cancel != nil {
		return nil
	}
	return l.sleep.due()
}

// over says whether the container's life is over, and notes the exit code.
// What is left to do then is leave's.
func (l *loop) over() bool {
	switch {
	case l.cancel != nil:
		return false // a task first ends what it has begun
	case l.failed:
		return true
	case l.serving == nil:
		return l.stopping && l.bootStopped()
	case !l.serving.ended, l.stopping && l.retiring.end() != nil:
		return false
	}
	l.exitWith(l.serving.Status())
	return true
}

// bootStopped says whether what was stopped while booting has ended.
func (l *loop) bootStopped() bool {
	switch {
	case l.successor != nil && l.successor.ended:
		l.exitWith(l.successor.Status())
		return true
	case l.successor == nil && l.command.ended:
		l.exitWith(l.command.Status())
		return true
	}
	return false
}

func (l *loop) exitWith(status reaper.Status) {
	l.code = status.ExitCode()
	if !status.Known() && l.stopping { // else the reason said so
		l.log.Error("stopped, but gunicorn's exit status could not be learned", "reason", status, "serving", 0, "code", l.code)
	}
}

// serves says that another generation is the serving one from now on.
func (l *loop) serves(begun time.Time) {
	l.log.Info("serving", "generation", l.serving.number, "pid", l.serving.PID(),
		"workers", l.step.workers.All, "took", since(begun))
}

// servesNow is the field serving: the number of the generation that answers
// requests, which is the serving one or one that is about to inherit, or 0. While
// gunicorn stops it is left out.
func (l *loop) servesNow() slog.Attr {
	switch {
	case l.stopping && l.stopDelay == nil:
		return slog.Attr{}
	case l.serving != nil && !l.serving.Dead():
		return slog.Int("serving", l.serving.number)
	case l.successor != nil && l.step.name == "soak" && !l.successor.Dead():
		return slog.Int("serving", l.successor.number)
	}
	return slog.Int("serving", 0)
}

// servingEnded says that the serving master is gone, and what comes of it. A
// handoff that ends of it says so itself.
func (l *loop) servingEnded() {
	attrs := []any{"generation", l.serving.number, "pid", l.serving.PID(), "reason", l.serving.Status(), l.servesNow()}
	switch {
	case l.stopping:
	case l.successor != nil:
		l.log.Warn("the serving master has ended: its successor inherits as soon as it is ready", attrs...)
	case l.now == nil:
		why := &gunicorn.ExitError{PID: l.serving.PID(), Status: l.serving.Status()}
		l.log.Error("gunicorn's master has ended: nothing serves", append(attrs, toDo(advice(why))...)...)
	}
}
