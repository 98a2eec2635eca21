package life

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/stablehand/stablehand/entrypoint/status"
)

// beginBoot begins the task that ends with generation 1, adopted or not.
func (l *Life) beginBoot(command Command, adopted *Adopted) {
	if command != nil {
		l.command = &launched{Command: command}
	} else {
		l.adopt(adopted)
	}
	first := l.successor // where one was adopted
	if first == nil && !command.Named() {
		l.lookedFor = time.After(l.settings.ReadyTimeout)
	}
	l.recurs.begins(l.started)
	l.begin(status.Boot, func(ctx context.Context) func() { return l.boot(ctx, first) })
}

// boot brings up generation 1: it waits until the command is, or has started,
// a gunicorn master, and until that is ready. A running master that was
// adopted is there already.
func (l *Life) boot(ctx context.Context, first *generation) func() {
	begun := time.Now()
	for {
		if first == nil {
			master, err := l.command.Find(ctx)
			if err != nil {
				return l.examine(nil, err)
			}
			first = newGeneration(master, 1)
			l.note(func() { l.found(first) })
		}
		l.enter(status.Warm)
		err := l.warm(ctx, first)
		if err == nil {
			successor := first.Successor()
			return func() { l.booted(first, begun, successor) }
		}
		if next := l.inherits(first); next != nil {
			first = next
			continue
		}
		if !l.wasNoMaster(first, err) {
			return l.examine(first, err)
		}
		l.log.Warn("gunicorn ended before it was ready, and the command goes on", "generation", 1, "pid", first.PID(), "reason", err)
		first = nil
		l.note(func() {
			l.successor, l.step = nil, step{}
			l.enters(status.Boot)
		})
	}
}

// found notes that there is a master.
func (l *Life) found(first *generation) {
	l.came(first)
	first.ours, first.before = true, l.before
	l.numbered = 1
	l.lookedFor, l.noGunicorn = nil, false
	l.log.Info("master found", "generation", 1, "pid", first.PID())
	l.world.Host.Keep(first.Generation, Content{}) // should we be killed before it serves
}

// errNoGunicorn is why no handoff comes where there is nothing to hand over.
var errNoGunicorn = errors.New("no gunicorn is among the command's processes")

// isNoGunicorn notes that a command that does not name gunicorn has lived for so
// long without one that it clearly is none. What was kept for a master is its.
func (l *Life) isNoGunicorn() {
	l.lookedFor, l.noGunicorn = nil, true
	for _, sig := range l.kept {
		l.toAll(sig)
	}
	l.kept = nil
	l.withdraw(errNoGunicorn)
	l.log.Warn("no gunicorn is among the command's processes: until there is one, all signals go to the command, and changes are not handed over",
		append([]any{"pid", l.command.PID(), "took", since(l.started)},
			toDo("if the command is no gunicorn, run it without STABLEHAND_WATCH and STABLEHAND_BIND")...)...)
}

// wasNoMaster says whether what looked like a master was none: it has ended
// and the command goes on, as after a gunicorn --check-config in a script.
func (l *Life) wasNoMaster(first *generation, err error) bool {
	_, ended := exitCode(err)
	return ended && l.command != nil && first.PID() != l.command.PID() && !dead(l.command)
}

// booted makes the first generation the serving one.
func (l *Life) booted(first *generation, begun time.Time, successor Generation) {
	l.serving, l.successor = first, nil
	first.since, first.workers, first.wants = time.Now(), l.step.workers.All, l.step.workers.All
	l.deliverKept()
	l.serves(begun)
	l.tellReady(l.standing())
	l.lookSoon()
	l.keep()
	l.readAgain(first)
	l.goOn(first, successor)
	if first.ended {
		l.servingEnded() // of which the loop has heard before it served
	}
}

// failure is why there is no first generation.
type failure struct {
	err        error
	reason     any  // the same, or how the command ended
	exited     bool // something has ended, with code
	code       int
	daemonised bool // and gunicorn goes on behind our back
	twin       int  // another gunicorn that may have the address; 0 if there is none
}

// examine looks, for the task, into why there is no first generation.
func (l *Life) examine(first *generation, err error) func() {
	f := failure{err: err, reason: err}
	f.code, f.exited = exitCode(err)
	if first == nil && f.exited && dead(l.command) {
		f.reason = l.command.Exit() // not in gunicorn's words
	}
	if l.command != nil && f.exited && f.code == 0 {
		f.daemonised = l.command.Daemonised()
	}
	if l.command != nil && f.exited && f.code == 1 && first != nil {
		f.twin = l.command.Twin()
	}
	return func() { l.bootFailed(f) }
}

// bootFailed notes why there is no first generation, and what to exit with.
func (l *Life) bootFailed(f failure) {
	if l.stopping {
		return // the end of what was started tells the code
	}
	l.failed, l.code = true, ExitFailed
	if f.exited && f.code != 0 {
		l.code = f.code
	}
	switch {
	case !f.exited:
		l.bootError("gunicorn did not get ready: nothing serves, and it is stopped", f.err, advice(f.err, linesOf(l.successor)))
	case f.daemonised:
		l.bootError("gunicorn has daemonised itself, where stablehand cannot look after it: nothing serves, and it is stopped",
			f.err, "set daemon = False in gunicorn's configuration")
	case f.code == 0 && l.step.workers.All > 0: // else it may have been no more than a gunicorn --check-config
		l.code = 0
		l.bootError("gunicorn was told to end by somebody else: nothing serves", f.err, whoTells)
	case f.code == 0:
		l.code = 0
		l.log.Info("the command ended, and no gunicorn serves", "reason", f.reason, "serving", 0, "code", l.code)
	case l.successor == nil:
		l.bootError("the command ended without a gunicorn: nothing serves", f.reason, "")
	case f.twin != 0:
		l.bootError("gunicorn ended before it was ready: nothing serves", f.err, fmt.Sprintf(
			"process %d is a gunicorn with the same words, and may have its address: stop it; "+
				"with --pid FILE among gunicorn's words a start adopts one that was left behind", f.twin))
	default:
		l.bootError("gunicorn ended before it was ready: nothing serves", f.err, advice(f.err, linesOf(l.successor)))
	}
}

// bootError logs why nothing serves. reason is an error or an Exit.
func (l *Life) bootError(text string, reason any, do string) {
	attrs := append(l.why(reason), "serving", 0, "code", l.code)
	l.log.Error(text, append(attrs, toDo(do)...)...)
}

// exitCode is that of the process of whose end an error tells.
func exitCode(err error) (code int, ended bool) {
	var exit interface {
		error
		ExitCode() int
	}
	if !errors.As(err, &exit) {
		return 0, false
	}
	return exit.ExitCode(), true
}
