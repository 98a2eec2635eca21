package life

import "github.com/stablehand/stablehand/entrypoint/status"

// Signal is a signal by its name, such as SIGTERM; a realtime signal, which has
// none, is called by its number.
type Signal string

// The signals that mean something to gunicorn, or to us.
const (
	HUP   Signal = "SIGHUP"
	INT   Signal = "SIGINT"
	QUIT  Signal = "SIGQUIT"
	USR1  Signal = "SIGUSR1"
	USR2  Signal = "SIGUSR2"
	PIPE  Signal = "SIGPIPE"
	TERM  Signal = "SIGTERM"
	CHLD  Signal = "SIGCHLD"
	URG   Signal = "SIGURG"
	TSTP  Signal = "SIGTSTP"
	TTIN  Signal = "SIGTTIN"
	TTOU  Signal = "SIGTTOU"
	WINCH Signal = "SIGWINCH"
)

// maxKept is how many signals are kept for a master that is not there yet.
const maxKept = 128

// signal does what a signal asks for.
func (l *Life) signal(sig Signal) {
	switch sig {
	case WINCH, CHLD, URG, PIPE:
		// no order to anyone
	case TERM, INT, QUIT:
		l.stop(sig)
	case HUP, USR2, USR1, TTIN, TTOU:
		l.order(sig)
	default:
		l.toAll(sig)
		l.log.Debug("forwarded", "signal", sig)
	}
	if sig == TSTP {
		l.world.Host.Suspend()
	}
}

// order is for the signals that only a booted master understands, and that would
// kill any other. Until there is one they are kept; where the command clearly is
// no gunicorn they are the command's.
func (l *Life) order(sig Signal) {
	switch {
	case l.serving == nil && l.noGunicorn:
		l.toAll(sig)
		l.log.Info("forwarded to the command, which is no gunicorn", "signal", sig)
		return
	case l.serving == nil && !l.stopping && len(l.kept) < maxKept:
		l.kept = append(l.kept, sig)
	}
	switch sig {
	case HUP, USR2:
		l.log.Info("handoff asked for", "by", sig)
		l.request(string(sig), 0)
		l.settle()
	case USR1:
		if l.serving != nil {
			for _, g := range l.generations() {
				l.deliver(g, sig)
			}
		}
	case TTIN, TTOU:
		l.resize(sig)
	}
}

// resize gives the newest ready master one worker more or less. Once a successor is
// ready, too, it is kept until one of the two has gone: which of them stays nobody knows,
// and the worker that a successor loses would be taken for a failure. So it is as long as the old one gives up
// workers for a successor: it is to have as many again.
func (l *Life) resize(sig Signal) {
	switch {
	case l.serving == nil: // kept already
	case l.shrinks() && len(l.kept) < maxKept:
		l.kept = append(l.kept, sig)
	case l.successor != nil && l.successor.ready && len(l.kept) < maxKept:
		l.kept = append(l.kept, sig)
	default:
		l.serving.resized(sig)
		l.deliver(l.serving, sig)
	}
}

// shrinks says whether the serving generation gives up workers for a successor, or has.
func (l *Life) shrinks() bool {
	return l.now != nil && l.serving.number == l.now.From &&
		(l.now.Taken > 0 || l.step.name == status.Room && l.settings.Room == Shrink)
}

// resized notes that a generation is to have one worker more or less: one at least.
func (g *generation) resized(sig Signal) {
	switch sig {
	case TTIN:
		g.wants++
	case TTOU:
		g.wants = max(1, g.wants-1)
	}
}

// deliverKept sends what was kept for the generation that serves now. A HUP and a
// USR2 are among what is requested.
func (l *Life) deliverKept() {
	for _, sig := range l.kept {
		if sig != HUP && sig != USR2 {
			l.serving.resized(sig)
			l.deliver(l.serving, sig)
		}
	}
	l.kept = nil
}

// deliver sends a signal to a master as soon as the master handles it, and after those
// that came before: a TTOU and a TTIN are something else the other way round. One that has
// workers handles all of them, and need not be looked at.
func (l *Life) deliver(g *generation, sig Signal) {
	before := g.delivered
	if g.ready && (before == nil || closed(before)) {
		if err := g.Signal(sig); err != nil && !dead(g) {
			l.unsent(sig, g, err)
		}
		return
	}
	delivered := make(chan struct{})
	g.delivered = delivered
	go func() {
		defer close(delivered)
		if before != nil {
			<-before
		}
		if err := g.Deliver(l.living, sig); err != nil && !dead(g) && l.living.Err() == nil {
			l.unsent(sig, g, err)
		}
	}()
}

// toAll sends a signal to every master; before there is one that serves, to all
// that the command has started, as any init would.
func (l *Life) toAll(sig Signal) {
	if l.serving == nil && l.command != nil && !dead(l.command) {
		l.command.Signal(sig, func(err error) { l.unsent(sig, l.command, err) })
		return
	}
	var errs []func()
	for _, g := range l.generations() {
		if err := g.Signal(sig); err != nil {
			errs = append(errs, func() { l.unsent(sig, g, err) })
		}
	}
	for _, say := range errs { // now that each has its signal
		say()
	}
}

// tell has one master finish, by TERM.
func (l *Life) tell(g *generation) {
	g.told.Store(true)
	if err := g.Signal(TERM); err != nil {
		l.unsent(TERM, g, err)
	}
}

// unsent says that a signal could not be sent. It may be called from anywhere.
func (l *Life) unsent(sig Signal, to Process, err error) {
	l.log.Warn("a signal could not be sent", "pid", to.PID(), "signal", sig, "reason", reasons(err))
}

// generations are those that are there, oldest first.
func (l *Life) generations() []*generation {
	var list []*generation
	for _, g := range []*generation{l.retiring, l.serving, l.successor} {
		if g != nil {
			list = append(list, g)
		}
	}
	if l.late != nil && l.late.came != nil {
		list = append(list, l.late.came)
	}
	return list
}
