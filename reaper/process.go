package reaper

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stablehand/stablehand/internal/proc"
)

// statusGrace is how long a dead process whose parent is somebody else may
// wait to be reaped by it: a pidfd tells its status only from then on. Parents
// reap at once, or never.
const statusGrace = 5 * time.Second

// Process is a process that matters: its death is reported and its exit
// status kept, whether this process started it, inherited it or only watches
// it. Its methods may be called from any goroutine.
type Process struct {
	pid    int
	pidfd  *os.File
	done   chan struct{}
	status Status // written by the reaper's loop before done is closed
}

func newProcess(pid, pidfd int) (*Process, error) {
	if err := unix.SetNonblock(pidfd, true); err != nil {
		unix.Close(pidfd)
		return nil, fmt.Errorf("follow process %d: %w", pid, err)
	}
	return &Process{
		pid:   pid,
		pidfd: os.NewFile(uintptr(pidfd), fmt.Sprintf("pidfd of %d", pid)),
		done:  make(chan struct{}),
	}, nil
}

// PID is the process's id in our PID namespace. It may name another process
// once Done is closed.
func (p *Process) PID() int { return p.pid }

// Done is closed when the process has ended and its Status is there.
func (p *Process) Done() <-chan struct{} { return p.done }

// Dead says whether Done is closed.
func (p *Process) Dead() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// Status waits for the process to end, and says how it did.
func (p *Process) Status() Status {
	<-p.done
	return p.status
}

// Signal sends sig to this very process, never to one that has its pid after
// it. It returns os.ErrProcessDone if the process has ended.
func (p *Process) Signal(sig unix.Signal) error {
	err := p.control(func(fd int) error { return unix.PidfdSendSignal(fd, sig, nil, 0) })
	if err == nil || err == os.ErrProcessDone {
		return err
	}
	if err == unix.ESRCH {
		return os.ErrProcessDone
	}
	return fmt.Errorf("send %s to process %d: %w", SignalName(sig), p.pid, err)
}

// Stopped says whether the process, a child of ours, has been stopped since
// the last call, as by SIGTSTP or SIGSTOP.
func (p *Process) Stopped() bool {
	var info unix.Siginfo
	err := p.control(func(fd int) error {
		return unix.Waitid(unix.P_PIDFD, fd, &info, unix.WSTOPPED|unix.WNOHANG, nil)
	})
	return err == nil && info.Signo != 0
}

// control calls f with the pidfd, which stays open meanwhile, or returns
// os.ErrProcessDone where it has been closed.
func (p *Process) control(f func(fd int) error) error {
	conn, err := p.pidfd.SyscallConn()
	if err != nil {
		return os.ErrProcessDone
	}
	var ferr error
	if conn.Control(func(fd uintptr) { ferr = f(int(fd)) }) != nil {
		return os.ErrProcessDone
	}
	return ferr
}

// await blocks, without a thread of its own, until f says true; it asks again
// after each event on the pidfd: the process's exit, then its being reaped.
func (p *Process) await(f func(fd int) bool) error {
	conn, err := p.pidfd.SyscallConn()
	if err != nil {
		return err
	}
	return conn.Read(func(fd uintptr) bool { return f(int(fd)) })
}

// awaitExit blocks until the process has exited, reaped or not.
func (p *Process) awaitExit() error {
	return p.await(func(fd int) bool {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, 0)
		return err == nil && n > 0
	})
}

// awaitStatus blocks until the kernel tells by the pidfd how the process ended, which
// it does once somebody has reaped it, or until statusGrace has passed: then its
// parent does not wait for it, and the process table is asked.
func (p *Process) awaitStatus() Status {
	// A descriptor that takes no deadline is not waited for either, and where the
	// wait fails the status is unknown.
	_ = p.pidfd.SetReadDeadline(time.Now().Add(statusGrace))
	var status Status
	_ = p.await(func(fd int) bool {
		status = fromPidfd(fd)
		return status.Known()
	})
	if !status.Known() {
		status = p.zombieStatus()
	}
	return status
}

// zombieStatus is how the process has ended where its parent has not waited for it
// yet, and the process table says it.
func (p *Process) zombieStatus() Status {
	ws, ok := proc.ZombieStatus(p.pid)
	if !ok || p.reaped() { // and so another one may have its pid
		return Status{}
	}
	return exited(ws)
}

// reaped says whether somebody has waited for the process.
func (p *Process) reaped() bool {
	err := p.control(func(fd int) error { return unix.PidfdSendSignal(fd, 0, nil, 0) })
	return err == unix.ESRCH || err == os.ErrProcessDone
}

// ourZombie says whether the process is a dead child of ours that waits to be
// reaped.
func (p *Process) ourZombie() bool {
	var info unix.Siginfo
	err := p.control(func(fd int) error {
		return unix.Waitid(unix.P_PIDFD, fd, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
	})
	return err == nil && info.Signo != 0
}
