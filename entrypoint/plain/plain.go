// Package plain gives any command an init: its zombies are reaped, signals go to
// it, its exit code is ours, and nothing is left behind. There is no handoff.
//
// The command runs in a process group of its own, which gets every signal that we
// get; on a terminal that group is in the foreground, so that job control works
// as without us. It knows nothing of gunicorn.
package plain

import (
	"context"
	"log/slog"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stablehand/stablehand/internal/proc"
	"github.com/stablehand/stablehand/reaper"
)

const (
	// leaveGrace is how long what the command leaves behind may take to end once
	// it got TERM.
	leaveGrace = 2 * time.Second

	// endTimeout is how long it may outlive SIGKILL, as in a disk wait.
	endTimeout = 30 * time.Second
)

// Command is one that runs.
type Command struct {
	*reaper.Process
	terminal terminal
	log      *slog.Logger
}

// Start starts a command. It is to be followed by Run.
func Start(r *reaper.Reaper, argv []string, log *slog.Logger) (*Command, error) {
	tty := foreground()
	process, err := r.Start(argv, &syscall.ProcAttr{
		Env:   os.Environ(),
		Files: []uintptr{0, 1, 2},
		Sys:   &syscall.SysProcAttr{Setpgid: true, Foreground: tty.held(), Ctty: int(tty)},
	})
	if err != nil {
		if group, err := tty.group(); err == nil {
			tty.hand(group, unix.Getpgrp())
		}
		return nil, err
	}
	return &Command{process, tty, log}, nil
}

// Run waits for the command's end, and returns the code to exit with. signals are
// all that we get, SIGCHLD, which tells of stops, included.
func (p *Command) Run(signals <-chan os.Signal) (code int) {
	for {
		select {
		case sig := <-signals:
			p.signal(sig.(unix.Signal))
		case <-p.Done():
			return p.leave()
		}
	}
}

// signal passes a signal on to the command's process group.
func (p *Command) signal(sig unix.Signal) {
	switch sig {
	case unix.SIGCHLD:
		p.stopped()
		return
	case unix.SIGPIPE:
		return // ours, of a log that nobody reads any more
	case unix.SIGCONT:
		p.terminal.hand(unix.Getpgrp(), p.PID())
	}
	p.send(sig)
}

// send sends a signal to the group, if that is still there.
func (p *Command) send(sig unix.Signal) {
	if err := unix.Kill(-p.PID(), sig); err != nil && err != unix.ESRCH {
		p.log.Warn("a signal could not be sent", "pid", p.PID(), "signal", reaper.SignalName(sig), "reason", err)
	}
}

// stopped passes a stop of the command on, so that whoever waits for us sees
// it. PID 1 cannot be stopped.
func (p *Command) stopped() {
	if !p.Stopped() {
		return
	}
	if p.terminal.hand(unix.Getpgrp(), p.PID()) {
		// It had read from the background, and we have come to the foreground
		// meanwhile: whoever brought us there will not do so again.
		p.send(unix.SIGCONT)
		return
	}
	_ = unix.Kill(os.Getpid(), unix.SIGSTOP) // everybody may signal themselves
}

// leave ends what the command leaves behind, and returns the code to exit with.
func (p *Command) leave() int {
	p.terminal.hand(p.PID(), unix.Getpgrp())
	ctx, cancel := context.WithTimeout(context.Background(), endTimeout)
	defer cancel()
	ours := func() ([]proc.Info, error) { return proc.Descendants(os.Getpid()) }
	if err := proc.Terminate(ctx, ours, leaveGrace); err != nil {
		p.log.Error("cannot end what is left", "reason", err)
	}
	status := p.Status()
	p.log.Info("stopped", "reason", status, "code", status.ExitCode())
	return status.ExitCode()
}
