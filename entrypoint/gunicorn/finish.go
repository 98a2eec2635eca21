package gunicorn

import (
	"context"
	"errors"
	"io/fs"
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

// outliveUs says whether masters live on when we are killed, as they do not where we are
// PID 1. Then none is halted: as a process group that nobody of its session looks after
// any more, in which one is stopped, all of them would be sent HUP by the kernel.
var outliveUs = os.Getpid() != 1

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
	halted := m.halting.goes != nil && !m.halting.told
	switch sig {
	case unix.SIGCONT:
		if halted {
			return nil // it would start workers in place of those that finish
		}
	case unix.SIGTERM, unix.SIGINT, unix.SIGQUIT:
		err := m.Process.Signal(sig)
		if halted {
			_ = m.Process.Signal(unix.SIGCONT) // as it could be stopped, unless it has ended
			close(m.halting.goes)
		}
		m.halting.told = true
		return err
	}
	return m.Process.Signal(sig)
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
// be used from any goroutine, once.
//
// A master that is sent TERM ends its dirty workers at once, under the requests that its
// own workers have put to them (Arbiter.stop, 25.3.0 to 27.0.1). So its workers are told
// first, while it is stopped, since it would start others in their places; it is told
// when they have ended, or ctx has, or after finishWithin. When it goes on it takes the
// TERM before it takes their ends, and starts none then.
func (m *Master) Finish(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, finishWithin)
	defer cancel()
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		if !outliveUs && m.hasDirty() {
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
	p := parting{master: m, begun: time.Now(), told: make(map[int]bool)}
	for p.goesOn() {
		select {
		case <-time.After(seldomer(p.begun)):
		case <-goes:
			return
		case <-m.Done():
			return
		case <-ctx.Done():
			return
		}
	}
}

// parting is how the workers of a halted master come to their end.
type parting struct {
	master *Master
	begun  time.Time
	halted bool         // the master was seen to be stopped: it forks no more
	told   map[int]bool // workers that were sent TERM
}

// goesOn sends TERM to each worker once, and says whether one is left. A worker counts
// until it has ended: another TERM, which its master is about to send, would end it while
// Python sees to what is left of it. Where somebody else has the master go on there is
// nothing to be waited for.
func (p *parting) goesOn() bool {
	info, err := proc.Stat(p.master.PID())
	if stopped := err == nil && info.State == 'T'; !stopped {
		return err == nil && !p.halted
	}
	p.halted = true
	left := false
	children, _ := proc.Children(p.master.PID()) // none of one that has ended
	for _, pid := range children {
		info, err := proc.Stat(pid)
		switch {
		case err != nil || !info.Alive():
		case p.told[pid]:
			left = true
		case !p.master.serves(pid):
		case p.master.hasOwn(pid) || !handles(pid, unix.SIGUSR2) && time.Since(p.begun) >= ownWithin:
			p.told[pid], left = true, true
			_ = proc.Kill([]proc.Info{info}, unix.SIGTERM)
		case time.Since(p.begun) < ownWithin:
			left = true
		}
	}
	return left
}

// serves says whether a child of the master is a worker that is not about to end, and not
// the dirty arbiter. One whose files are kept from us is taken for one.
func (m *Master) serves(child int) bool {
	beats, err := heartbeats(child)
	is, err2 := m.isWorker(child)
	holds := err == nil && len(beats) > 0 || errors.Is(err, fs.ErrPermission)
	return holds && err2 == nil && is && m.kindOf(child) != arbiter
}

// hasOwn says whether a child of the master has been seen with handlers of its own long
// enough not to be the dirty arbiter, see sureIn.
func (m *Master) hasOwn(child int) bool {
	m.dirty.mu.Lock()
	defer m.dirty.mu.Unlock()
	return m.dirty.kinds[child].kind == something
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
	var above []proc.Info
	info, err := proc.Stat(m.PID())
	for err == nil && info.Parent != os.Getpid() {
		info, err = proc.Stat(info.Parent)
		above = append(above, info)
	}
	if err == nil {
		_ = proc.Kill(above, unix.SIGCONT) // to who has not stopped it does nothing
	}
}
