package gunicorn

import (
	"context"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stablehand/stablehand/internal/proc"
)

const (
	// finishWithin is how long the workers of a master that is halted may take. Until it
	// goes on it sees to none of its own limits; it is its graceful_timeout by default.
	finishWithin = 30 * time.Second

	// ownWithin is how long a worker is waited for that has been forked just before: until
	// it has handlers of its own it has its master's, and forgets a TERM.
	ownWithin = time.Second
)

// halting is whether a master is stopped. It goes on with the first signal by which it
// ends, and is not stopped after that.
type halting struct {
	mu   sync.Mutex
	told bool          // it was sent such a signal
	goes chan struct{} // closed when it goes on; nil where it was not stopped
}

// Signal sends sig to the master. It returns os.ErrProcessDone if that has ended.
func (m *Master) Signal(sig unix.Signal) error {
	m.halting.mu.Lock()
	defer m.halting.mu.Unlock()
	err := m.Process.Signal(sig)
	if sig == unix.SIGTERM || sig == unix.SIGINT || sig == unix.SIGQUIT {
		if m.halting.goes != nil && !m.halting.told {
			_ = m.Process.Signal(unix.SIGCONT) // as it could be stopped, unless it has ended
			close(m.halting.goes)
		}
		m.halting.told = true
	}
	return err
}

// halt stops the master, unless it was told to end, or has. The channel is closed when it
// goes on.
func (m *Master) halt() (goes <-chan struct{}, halted bool) {
	m.halting.mu.Lock()
	defer m.halting.mu.Unlock()
	if m.halting.told || m.Process.Signal(unix.SIGSTOP) != nil {
		return nil, false
	}
	m.halting.goes = make(chan struct{})
	return m.halting.goes, true
}

// Finish has the master and its workers finish what they hold, and end, by TERM. It may
// be used from any goroutine.
//
// A master that is sent TERM ends its dirty workers at once, under the requests that its
// own workers have put to them (Arbiter.stop, 25.3.0 to 27.0.1). So its workers are told
// first, while it is stopped, since it would start others in their places; it is told
// when they have gone, or ctx ends, or after finishWithin. It hears of that before it
// hears of their ends, and so starts none then.
func (m *Master) Finish(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, finishWithin)
	defer cancel()
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		if m.hasDirty() {
			m.finishWorkers(ctx)
		}
	}()
	select {
	case <-finished:
	case <-ctx.Done(): // be it that the process table does not answer
	}
	err := m.Signal(unix.SIGTERM)
	m.resumeAbove()
	return err
}

// hasDirty says whether the master has a dirty arbiter.
func (m *Master) hasDirty() bool {
	children, _ := proc.Children(m.PID()) // of who cannot be asked nothing is known
	return slices.ContainsFunc(children, func(pid int) bool { return m.kindOf(pid) == arbiter })
}

// finishWorkers halts the master, has its workers end, and waits for that, or until the
// master goes on.
func (m *Master) finishWorkers(ctx context.Context) {
	goes, halted := m.halt()
	if !halted {
		return
	}
	told := make(map[int]bool)
	for begun := time.Now(); m.tellWorkers(told, begun) > 0; {
		select {
		case <-time.After(seldomer(begun)):
		case <-goes:
			return
		case <-m.Done():
			return
		case <-ctx.Done():
			return
		}
	}
}

// tellWorkers sends TERM to each worker once, and returns how many there are still. As
// long as the master itself is not seen to be stopped, there may be more.
func (m *Master) tellWorkers(told map[int]bool, halted time.Time) (left int) {
	if info, err := proc.Stat(m.PID()); err == nil && info.State != 'T' {
		return 1
	}
	children, _ := proc.Children(m.PID()) // none of one that has ended
	for _, pid := range children {
		info, err := proc.Stat(pid)
		if err != nil || !info.Alive() || !m.serves(pid) {
			continue
		}
		own := !handles(pid, unix.SIGUSR2)
		if own || time.Since(halted) < ownWithin {
			left++
		}
		if own && !told[pid] {
			told[pid] = true
			_ = proc.Kill([]proc.Info{info}, unix.SIGTERM)
		}
	}
	return left
}

// serves says whether a child of the master is a worker that is not about to end, and not
// the dirty arbiter. Nobody is who cannot be looked at.
func (m *Master) serves(child int) bool {
	beats, err := heartbeats(child)
	is, err2 := m.isWorker(child)
	return err == nil && err2 == nil && is && len(beats) > 0 && m.kindOf(child) != arbiter
}

// resumeAbove has those go on, too, that stopped with a master that was halted: su and sudo do,
// when what they have started does. Only what is below us is meant.
func (m *Master) resumeAbove() {
	m.halting.mu.Lock()
	halted := m.halting.goes != nil
	m.halting.mu.Unlock()
	if !halted {
		return
	}
	var all []proc.Info
	for pid := m.PID(); pid != os.Getpid(); {
		info, err := proc.Stat(pid)
		if err != nil || pid == 1 {
			return
		}
		all = append(all, info)
		pid = info.Parent
	}
	_ = proc.Kill(all, unix.SIGCONT) // to who has not stopped it does nothing
}

// resumeStopped has a process go on that an earlier stablehand has halted, and could not
// have go on any more.
func resumeStopped(info proc.Info) {
	if info.State == 'T' {
		_ = proc.Kill([]proc.Info{info}, unix.SIGCONT)
	}
}
