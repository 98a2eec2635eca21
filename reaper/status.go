package reaper

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Status is how a process ended. The zero Status is unknown.
type Status struct {
	wait  unix.WaitStatus
	known bool
}

func exited(ws unix.WaitStatus) Status { return Status{wait: ws, known: true} }

// Known says whether the kernel told us how the process ended. It does not
// where somebody else waited for the process before we could see it dead, and the
// kernel is older than 6.15, which keeps the status for whoever holds a pidfd.
func (s Status) Known() bool { return s.known }

// Signal is the signal that killed the process, 0 if none did.
func (s Status) Signal() unix.Signal {
	if !s.known || !s.wait.Signaled() {
		return 0
	}
	return s.wait.Signal()
}

// ExitCode is the code to exit with on the process's behalf, as shells and
// tini count it: its own exit code, 128+n where signal n killed it, and 1
// where its end is unknown.
func (s Status) ExitCode() int {
	if !s.known {
		return 1
	}
	if s.wait.Signaled() {
		return 128 + int(s.wait.Signal())
	}
	return s.wait.ExitStatus()
}

func (s Status) String() string {
	if !s.known {
		return "exit status unknown"
	}
	if s.wait.Signaled() {
		return "killed by " + SignalName(s.wait.Signal())
	}
	return fmt.Sprintf("exit code %d", s.wait.ExitStatus())
}

// MarshalText is String's, for logs.
func (s Status) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// SignalName is the signal's name, such as SIGTERM; realtime signals, which
// have none, are given by number.
func SignalName(s unix.Signal) string {
	if name := unix.SignalName(s); name != "" {
		return name
	}
	return fmt.Sprintf("signal %d", int(s))
}
