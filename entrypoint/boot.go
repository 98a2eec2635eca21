package entrypoint

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stablehand/stablehand/entrypoint/gunicorn"
)

// boot brings up generation 1: it waits until the command is, or has started,
// a gunicorn master, and until that is ready. A running master that was
// adopted is there already.
func (l *loop) boot(ctx context.Context, first *generation) func() {
	begun := time.Now()
	for {
		if first == nil {
			master, err := gunicorn.Find(ctx, l.reaper, l.command.Process)
			if err != nil {
				return func() { l.bootFailed(err) }
			}
			first = newGeneration(master, 1)
			l.note(func() { l.successor, l.numbered = first, 1 })
			l.log.Info("master found", "generation", 1, "pid", first.PID())
		}
		l.enter("warm")
		warming, cancel := l.warming(ctx)
		err := first.Ready(warming, 0, l.workers)
		cancel()
		if err == nil {
			return func() { l.booted(first, begun) }
		}
		if !l.wasNoMaster(first, err) {
			return func() { l.bootFailed(err) }
		}
		l.log.Warn("gunicorn ended before it was ready, and the command goes on", "generation", 1, "pid", first.PID(), "reason", err)
		first = nil
		l.note(func() { l.successor = nil })
		l.enter("boot")
	}
}

// wasNoMaster says whether what looked like a master was none: it has ended
// and the command goes on, as after a gunicorn --check-config in a script.
func (l *loop) wasNoMaster(first *generation, err error) bool {
	var exit *gunicorn.ExitError
	return errors.As(err, &exit) && l.command != nil && first.Process != l.command.Process && !l.command.Dead()
}

// booted makes the first generation the serving one.
func (l *loop) booted(first *generation, begun time.Time) {
	l.serving, l.successor = first, nil
	first.since = time.Now()
	if l.command != nil && !l.moved { // of one that was adopted nobody knows
		first.content = l.disk
	}
	l.serves(begun)
	l.notifyReady(l.standing())
	for _, sig := range l.kept {
		l.deliver(first, sig)
	}
	l.kept = nil
	if first.HasSuccessor() {
		l.order("a successor is there already")
	}
}

// bootFailed notes why there is no first generation, and what to exit with.
func (l *loop) bootFailed(err error) {
	if l.stopping {
		return // the end of what was started tells the code
	}
	l.failed, l.code = true, ExitFailed
	var exit *gunicorn.ExitError
	if errors.As(err, &exit) && exit.Status.ExitCode() != 0 {
		l.code = exit.Status.ExitCode()
	}
	switch {
	case exit == nil:
		l.bootError("gunicorn did not get ready: nothing serves, and it is stopped", err, advice(err))
	case exit.Status.ExitCode() == 0 && gunicorn.Daemonised():
		l.bootError("gunicorn has daemonised itself, where stablehand cannot look after it: nothing serves, and it is stopped",
			err, "set daemon = False in gunicorn's configuration")
	case exit.Status.ExitCode() == 0:
		l.code = 0
		l.log.Info("the command ended, and no gunicorn serves", "reason", exit.Status, "serving", 0, "code", l.code)
	case l.successor == nil:
		l.bootError("the command ended without a gunicorn: nothing serves", exit.Status, "")
	default:
		do := advice(err)
		if twin := l.twin(); twin != "" && exit.Status.ExitCode() == 1 {
			do = twin
		}
		l.bootError("gunicorn ended before it was ready: nothing serves", err, do)
	}
}

// bootError logs why nothing serves. reason is an error or a status.
func (l *loop) bootError(text string, reason any, do string) {
	attrs := append(l.why(reason), "serving", 0, "code", l.code)
	l.log.Error(text, append(attrs, toDo(do)...)...)
}

// twin tells, for the log, of another gunicorn that may hold our address and
// that a pidfile would have let us adopt.
func (l *loop) twin() string {
	if l.command == nil || l.command.Pidfile != "" {
		return ""
	}
	pid := gunicorn.Twin(l.command.Argv)
	if pid == 0 {
		return ""
	}
	return fmt.Sprintf("process %d is a gunicorn with the same words, and may have its address: stop it; "+
		"with --pid FILE among gunicorn's words a start adopts one that was left behind", pid)
}

// deliver sends a signal to a master as soon as the master handles it.
func (l *loop) deliver(g *generation, sig unix.Signal) {
	go g.Deliver(context.Background(), sig)
}
