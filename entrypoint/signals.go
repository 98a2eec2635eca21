package entrypoint

import (
	"context"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stablehand/stablehand/reaper"
)

// signal does what a signal asks for, while the command is managed.
func (l *loop) signal(sig unix.Signal) {
	switch sig {
	case unix.SIGWINCH, unix.SIGPIPE:
		// no order to anyone
	case unix.SIGTERM, unix.SIGINT, unix.SIGQUIT:
		l.stop(sig)
	case unix.SIGHUP, unix.SIGUSR2:
		l.log.Info("handoff asked for", "by", reaper.SignalName(sig))
		l.order(reaper.SignalName(sig))
	case unix.SIGUSR1, unix.SIGTTIN, unix.SIGTTOU:
		l.pass(sig)
	default:
		l.log.Debug("forwarding", "signal", reaper.SignalName(sig))
		l.toAll(sig)
	}
	if sig == unix.SIGTSTP {
		unix.Kill(unix.Getpid(), unix.SIGSTOP) // as it would have done had we not asked for it
	}
}

// pass hands on a signal that only a booted master understands: USR1 to all,
// TTIN and TTOU to the one that serves. A successor that soaks would be rolled
// back for the worker that it loses.
func (l *loop) pass(sig unix.Signal) {
	if l.serving == nil {
		l.kept = append(l.kept, sig)
		return
	}
	if sig != unix.SIGUSR1 {
		l.deliver(l.serving, sig)
		return
	}
	for _, g := range l.generations() {
		l.deliver(g, sig)
	}
}

// generations are those that are there, oldest first.
func (l *loop) generations() []*generation {
	var list []*generation
	for _, g := range []*generation{l.retiring, l.serving, l.successor} {
		if g != nil {
			list = append(list, g)
		}
	}
	return list
}

// toAll sends a signal to every master; before there is one that serves, to
// all that the command has started, as any init would.
func (l *loop) toAll(sig unix.Signal) {
	if l.serving == nil && l.command != nil {
		reaper.Kill(reaper.Tree(l.command.PID()), sig)
		return
	}
	for _, g := range l.generations() {
		g.Signal(sig)
	}
}

// stop begins to stop, gracefully by TERM and quickly by INT and QUIT, or
// turns a stop that has begun into a quicker one.
func (l *loop) stop(sig unix.Signal) {
	name := reaper.SignalName(sig)
	switch {
	case !l.stopping:
		l.stopping = true
		l.unwant()
		l.notifyStopping(name)
		if l.cancel != nil {
			l.cancel(errStopping)
		}
		if sig == unix.SIGTERM && l.config.StopDelay > 0 && l.serving != nil {
			l.stopDelay = time.After(l.config.StopDelay)
			l.log.Info("stopping", "signal", name, "delay", l.config.StopDelay, l.servesNow())
			return
		}
		l.log.Info("stopping", "signal", name)
		l.terminate(sig)
	case l.stopDelay != nil:
		l.log.Info("stopping without delay", "signal", name)
		l.terminate(sig)
	case sig != unix.SIGTERM:
		l.log.Info("stopping quickly", "signal", name)
		l.toAll(sig)
	default:
		l.log.Info("stopping already", "signal", name)
		if l.serving == nil {
			l.toAll(sig) // as any init would: what runs before gunicorn may need it twice
		}
	}
}

// terminate tells every master to end.
func (l *loop) terminate(sig unix.Signal) {
	l.stopDelay = nil
	if l.config.StopTimeout > 0 {
		l.kill = time.After(l.config.StopTimeout)
	}
	l.toAll(sig)
}

// killAll ends what has not ended in STOP_TIMEOUT. A task may still run, to
// which the generations' own lists belong meanwhile.
func (l *loop) killAll() {
	l.kill = nil
	left := func() []reaper.Info {
		list := reaper.Descendants(os.Getpid())
		for _, g := range l.generations() {
			if !g.Dead() { // its pid may be another's then
				list = reaper.Merge(list, reaper.Tree(g.PID()))
			}
		}
		return list
	}
	l.log.Warn("not stopped in STOP_TIMEOUT: killing what is left", append([]any{"processes", len(left()), "took", l.config.StopTimeout},
		toDo("raise "+Prefix+"STOP_TIMEOUT above gunicorn's graceful_timeout, if requests are to be finished")...)...)
	l.end(0, left)
}

// leaveGrace is how long what gunicorn leaves behind may take to end by
// itself, and then again once it got TERM: a script's last lines, say.
const leaveGrace = 2 * time.Second

// leave ends what is left when the container's life is over, and returns the
// code to exit with.
func (l *loop) leave() int {
	left := func() []reaper.Info {
		list := reaper.Descendants(os.Getpid())
		for _, g := range l.generations() {
			list = reaper.Merge(list, g.Processes())
		}
		return list
	}
	ctx, cancel := context.WithTimeout(context.Background(), endTimeout)
	defer cancel()
	if !l.failed {
		reaper.Gone(ctx, left, leaveGrace)
	}
	if n := len(left()); n > 0 {
		l.log.Info("ending what is left", "processes", n)
		l.end(leaveGrace, left)
	}
	l.log.Info("stopped", "code", l.code)
	return l.code
}

// end ends all that list returns: at once, or with a grace above 0 by TERM
// first.
func (l *loop) end(grace time.Duration, list func() []reaper.Info) {
	ctx, cancel := context.WithTimeout(context.Background(), endTimeout)
	defer cancel()
	if err := reaper.Terminate(ctx, list, grace); err != nil {
		l.log.Error("cannot end what is left", "reason", err)
	}
}
