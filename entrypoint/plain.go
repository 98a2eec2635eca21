package entrypoint

import (
	"context"
	"log/slog"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/stablehand/stablehand/reaper"
)

// plain is a command that is not managed: it just gets an init. It runs in a
// process group of its own, which gets every signal that we get; on a terminal
// that group is in the foreground, so that job control works as without us.
type plain struct {
	*reaper.Process
	terminal terminal
}

func runPlain(command Command, r *reaper.Reaper, signals <-chan os.Signal, log *slog.Logger) int {
	tty := foreground()
	sys := &syscall.SysProcAttr{Setpgid: true, Foreground: tty.held(), Ctty: int(tty)}
	process, err := start(command, r, log, sys)
	if err != nil {
		if group, err := tty.group(); err == nil {
			tty.hand(group, unix.Getpgrp())
		}
		return startFailed(err, command, log)
	}
	p := plain{process, tty}
	for {
		select {
		case sig := <-signals:
			p.signal(sig.(unix.Signal))
		case <-p.Done():
			return p.leave(log)
		}
	}
}

// signal passes a signal on to the command's process group.
func (p plain) signal(sig unix.Signal) {
	switch sig {
	case unix.SIGCHLD:
		p.stopped()
		return
	case unix.SIGPIPE:
		return // ours, of a log that nobody reads any more
	case unix.SIGCONT:
		p.terminal.hand(unix.Getpgrp(), p.PID())
	}
	unix.Kill(-p.PID(), sig)
}

// stopped passes a stop of the command on, so that whoever waits for us sees
// it. PID 1 cannot be stopped.
func (p plain) stopped() {
	if !p.Stopped() {
		return
	}
	if p.terminal.hand(unix.Getpgrp(), p.PID()) {
		// It had read from the background, and we have come to the foreground
		// meanwhile: whoever brought us there will not do so again.
		unix.Kill(-p.PID(), unix.SIGCONT)
		return
	}
	unix.Kill(os.Getpid(), unix.SIGSTOP)
}

// leave ends what the command leaves behind, and returns the code to exit with.
func (p plain) leave(log *slog.Logger) int {
	p.terminal.hand(p.PID(), unix.Getpgrp())
	ctx, cancel := context.WithTimeout(context.Background(), endTimeout)
	defer cancel()
	ours := func() []reaper.Info { return reaper.Descendants(os.Getpid()) }
	if err := reaper.Terminate(ctx, ours, leaveGrace); err != nil {
		log.Error("cannot end what is left", "reason", err)
	}
	status := p.Status()
	log.Info("stopped", "reason", status, "code", status.ExitCode())
	return status.ExitCode()
}
