package life

import (
	"context"
	"errors"
	"time"
)

// stop begins to stop, gracefully by TERM and quickly by INT and QUIT, or
// turns a stop that has begun into a quicker one.
func (l *Life) stop(sig Signal) {
	switch {
	case !l.stopping && sig == TERM && l.settings.StopDelay > 0 && l.serving != nil:
		l.stopping = true
		l.stopDelay = time.After(l.settings.StopDelay)
		l.begun(sig)
		l.log.Info("stopping", "signal", sig, "delay", l.settings.StopDelay, l.servesNow())
	case !l.stopping:
		l.stopping = true
		l.terminate(sig)
		l.begun(sig)
		l.log.Info("stopping", "signal", sig)
	case l.stopDelay != nil:
		l.terminate(sig)
		l.log.Info("stopping without delay", "signal", sig)
	case sig != TERM:
		l.hurry(sig)
		l.log.Info("stopping quickly", "signal", sig)
	default:
		if l.serving == nil {
			l.toAll(sig) // as any init would: what runs before gunicorn may need it twice
		}
		l.log.Info("stopping already", "signal", sig)
	}
}

// begun has all others know that a stop has begun: who waits for a handoff, the
// service manager, and the task.
func (l *Life) begun(sig Signal) {
	l.withdraw(errStopping)
	l.world.Teller.Stopping("Stopping: " + string(sig))
	if l.cancel != nil {
		l.cancel(errStopping)
	}
}

// terminate tells every master to end.
func (l *Life) terminate(sig Signal) {
	l.stopDelay = nil
	if l.settings.StopTimeout > 0 {
		l.kill = time.After(l.settings.StopTimeout)
	}
	if sig != TERM {
		l.hurry(sig)
	} else {
		for _, g := range l.generations() {
			g.told.Store(true)
		}
		l.toAll(sig)
	}
	for _, g := range l.generations() {
		go g.release() // else who connects now would wait for nobody
	}
}

// hurry passes a quick stop on. A master that has been told to finish before may
// not listen any more (gunicorn 23 and older), so that its workers are told, too. One
// that comes up may lose an INT, which Python takes before gunicorn does, and which an
// import may drop: it gets another one when it handles that itself.
func (l *Life) hurry(sig Signal) {
	l.toAll(sig)
	for _, g := range l.generations() {
		if sig == INT && l.serving == nil {
			l.deliver(g, sig)
		}
		if g.told.Load() && !dead(g) {
			g.Hurry(sig, func(err error) { l.unsent(sig, g, err) })
		}
	}
}

// killAll ends what has not ended in STOP_TIMEOUT. A task may still run, to
// which the generations' own lists belong meanwhile.
func (l *Life) killAll() {
	l.kill = nil
	there := l.there()
	go func() {
		ctx, cancel := context.WithTimeout(l.living, endTimeout)
		defer cancel()
		err := l.clear(ctx, there, 0, 0, func(processes int) {
			l.log.Warn("not stopped in STOP_TIMEOUT: killing what is left", append([]any{"processes", processes, "took", l.settings.StopTimeout},
				toDo("raise STABLEHAND_STOP_TIMEOUT above gunicorn's graceful_timeout, if requests are to be finished")...)...)
		})
		if err != nil {
			l.note(func() { l.lose(reasons(err)) })
		}
	}()
}

// errNoAnswer is the error of what is left where nobody knows what that is.
var errNoAnswer = errors.New("the process table does not answer")

// clear ends what is left, and comes back when ctx has ended, whether the host does
// or not: what it reads of a process that waits for a file system may never come.
func (l *Life) clear(ctx context.Context, there []Generation, wait, grace time.Duration, begin func(processes int)) error {
	cleared := make(chan error, 1)
	go func() { cleared <- l.world.Host.Clear(ctx, there, wait, grace, begin) }()
	select {
	case err := <-cleared:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-cleared:
		return err
	case <-time.After(time.Second): // which says more, if it comes
		return errNoAnswer
	}
}

// there is every generation that is there, as the host knows it.
func (l *Life) there() []Generation {
	var list []Generation
	for _, g := range l.generations() {
		list = append(list, g.Generation)
	}
	return list
}

// leaveDeaf leaves, and hears no signal: all ends already.
func (l *Life) leaveDeaf(signals <-chan Signal) int {
	left := make(chan int)
	go func() { left <- l.leave() }()
	for {
		select {
		case code := <-left:
			return code
		case <-signals:
		}
	}
}

// leave ends what is left when the life is over, and returns the code to exit
// with.
func (l *Life) leave() int {
	wait, grace := leaveGrace, leaveGrace
	if l.failed {
		wait = 0
	}
	if l.lost { // and so all of that was tried
		wait, grace = 0, 0
	}
	ctx, cancel := context.WithTimeout(context.Background(), endTimeout)
	defer cancel()
	err := l.clear(ctx, l.there(), wait, grace, func(processes int) {
		l.log.Info("ending what is left", "processes", processes)
	})
	if err != nil {
		l.log.Error("cannot end what is left", "reason", reasons(err))
	}
	l.log.Info("stopped", "code", l.code)
	return l.code
}
