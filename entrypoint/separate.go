package entrypoint

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/stablehand/stablehand/entrypoint/life"
	"github.com/stablehand/stablehand/entrypoint/sockets"
	"github.com/stablehand/stablehand/entrypoint/status"
	"github.com/stablehand/stablehand/internal/proc"
)

// separate is a generation with a listener of its own.
type separate struct {
	master
	from     *afresh
	listener *sockets.Listener
}

// Ready waits until every worker is ready, and makes sure of what they listen on.
func (s separate) Ready(ctx context.Context, hint int, report func(status.Workers)) error {
	if err := s.master.Ready(ctx, hint, report); err != nil {
		return s.from.orPidfile(ctx, s, err)
	}
	if err := s.Took(); errors.Is(err, os.ErrProcessDone) {
		<-s.Done()
		return s.Ended()
	} else if err != nil {
		return err
	}
	if s.from.ready.Swap(s.Master) == nil {
		say(s.from.log, "no handoff is possible", s.Master, 1, s.OnePidfile(ctx))
	}
	return nil
}

// orPidfile is why a generation has not got ready: that of the one before, if that has
// kept it from its pidfile.
func (a *afresh) orPidfile(ctx context.Context, s separate, err error) error {
	before := a.ready.Load()
	if before == nil || !s.Dead() {
		return err
	}
	if why := before.OnePidfile(ctx); why != nil {
		return fmt.Errorf("%w (%w)", why, err)
	}
	return err
}

func (s separate) Listener() life.Listener { return listener{s} }

// listener is that of a generation as package life needs it.
type listener struct{ separate }

func (l listener) Steer() error { return l.from.sockets.Steer(l.separate.listener) }

func (l listener) Shared() bool { return l.from.sockets.Unsteered() != nil }

func (l listener) Yield() error { return l.from.sockets.SteerFrom(l.separate.listener) }

func (l listener) Held() (waiting, held int, err error) {
	waiting, err = l.separate.listener.Waiting()
	if err != nil {
		return 0, 0, err
	}
	if l.from.sockets.Unsteered() != nil {
		waiting = 0 // for whoever accepts first
	}
	connections, err := l.from.sockets.Connections()
	if err != nil {
		return 0, 0, err
	}
	targets := make(map[string]bool)
	for _, inode := range connections {
		targets[proc.Socket(inode)] = true
	}
	held, err = l.Holds(targets)
	return waiting, held, err
}

func (l listener) Release() {
	if err := l.separate.listener.Release(); err != nil {
		l.from.log.Warn("cannot give up the sockets of a generation that is to end", "pid", l.PID(), "reason", oneLine(err))
	}
}

func (l listener) Close() {
	if err := inTime(l.separate.listener.Close); err != nil {
		l.from.log.Warn("cannot close the sockets of an old generation in good order", "pid", l.PID(), "reason", oneLine(err))
	}
}
