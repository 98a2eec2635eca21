package reaper

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/go-reap"
	"golang.org/x/sys/unix"

	"github.com/stablehand/stablehand/internal/proc"
)

// lookAgain is how long a dead child may wait before go-reap is woken for it:
// it is not told of one that has died before it began to listen.
const lookAgain = 5 * time.Millisecond

// Reaper reaps every child of this process. There can be only one, since the
// kernel has one answer to "any child".
//
// One goroutine, its loop, owns all state. Who reaps is told in the package's
// comment: go-reap, beside the loop, or the loop itself.
type Reaper struct {
	told    bool             // by pidfds, how processes ended: go-reap reaps
	tracked map[int]*Process // by pid, until its status is there
	calls   chan func()      // run by the loop
	quit    chan struct{}
	ended   sync.WaitGroup
	buried  atomic.Int64 // see Reaped
	reaped  reap.PidCh   // unbuffered: what go-reap has reaped
}

var errClosed = errors.New("the reaper is closed")

// New starts reaping. A process that is not PID 1 becomes a child subreaper,
// so that what its descendants leave behind becomes its child all the same.
// It needs Linux 5.4, for pidfds, and /proc; the error says which is missing.
func New() (*Reaper, error) { return start(pidfdsTell()) }

func start(told bool) (*Reaper, error) {
	if err := probe(); err != nil {
		return nil, err
	}
	if os.Getpid() != 1 {
		if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
			return nil, fmt.Errorf("become a child subreaper: %w", err)
		}
	}
	r := &Reaper{
		told:    told,
		tracked: make(map[int]*Process),
		calls:   make(chan func()),
		quit:    make(chan struct{}),
		reaped:  make(reap.PidCh),
	}
	children := make(chan os.Signal, 1)
	signal.Notify(children, unix.SIGCHLD)
	r.ended.Go(func() {
		defer signal.Stop(children)
		r.loop(children)
	})
	wake() // for those who died before we could be told
	return r, nil
}

// Reaped counts the children that were reaped so far, those that matter
// included. It may be called from any goroutine.
func (r *Reaper) Reaped() int64 { return r.buried.Load() }

// Close stops reaping. Processes go on; their Done may never be closed.
func (r *Reaper) Close() {
	close(r.quit)
	r.ended.Wait()
}

// Start starts a command, followed from its first instant. argv[0] is looked
// up in the PATH of its environment if it has no slash, and is taken from its
// directory otherwise. The error wraps exec.ErrNotFound or fs.ErrNotExist where there
// is no such program.
//
// It waits until the command runs. Where a file system that does not answer keeps that
// from coming, this may hold up all of us: until the child has exec'd the Go runtime
// cannot stop the thread that has forked it, as it has to now and then. So ask before.
func (r *Reaper) Start(argv []string, attr *syscall.ProcAttr) (*Process, error) {
	path, err := Program(argv[0], attr)
	if err != nil {
		return nil, err
	}
	p, err := (*Process)(nil), errClosed
	if !r.told {
		r.do(func() {
			if c := fork(path, argv, attr); c.err != nil {
				err = c.err
			} else {
				p, err = r.follow(c.pid, c.pidfd)
			}
		})
		return p, err
	}
	forked := make(chan child)
	go func() { forked <- fork(path, argv, attr) }() // not by our caller's thread, whose blocked signals it would inherit
	c := <-forked
	if c.err != nil {
		return nil, c.err
	}
	r.do(func() { p, err = r.follow(c.pid, c.pidfd) })
	return p, err
}

// child is what comes of a fork.
type child struct {
	pid, pidfd int
	err        error
}

// fork starts a program.
func fork(path string, argv []string, attr *syscall.ProcAttr) child {
	pidfd := -1
	with := *attr
	sys := syscall.SysProcAttr{}
	if attr.Sys != nil {
		sys = *attr.Sys
	}
	sys.PidFD = &pidfd
	with.Sys = &sys
	pid, err := syscall.ForkExec(path, argv, &with)
	if err != nil {
		err = &os.PathError{Op: "run", Path: path, Err: err}
	}
	return child{pid, pidfd, err}
}

// Open follows a process that somebody else started. For as long as it is
// followed, Open returns the same Process for its pid. The error wraps
// os.ErrProcessDone if there is no such process.
func (r *Reaper) Open(pid int) (*Process, error) { return r.open(pid, proc.Open) }

// OpenIfRoom is Open of a process that is not worth one of the descriptors held in
// reserve: of those that come in any number.
func (r *Reaper) OpenIfRoom(pid int) (*Process, error) { return r.open(pid, proc.OpenIfRoom) }

func (r *Reaper) open(pid int, by func(pid int) (pidfd int, err error)) (*Process, error) {
	p, err := (*Process)(nil), errClosed
	r.do(func() { p, err = r.opened(pid, by) })
	return p, err
}

func (r *Reaper) opened(pid int, by func(pid int) (pidfd int, err error)) (*Process, error) {
	if p, ok := r.tracked[pid]; ok && !p.reaped() {
		return p, nil
	}
	pidfd, err := by(pid)
	if err != nil {
		return nil, err
	}
	return r.follow(pid, pidfd)
}

// follow adds a process to those that matter.
func (r *Reaper) follow(pid, pidfd int) (*Process, error) {
	p, err := newProcess(pid, pidfd)
	if err != nil {
		return nil, err
	}
	r.tracked[pid] = p
	r.ended.Go(func() {
		if p.awaitExit() != nil {
			return // closed by settle
		}
		var status Status
		if r.told {
			status = p.awaitStatus()
		} else {
			status = p.zombieStatus() // who is no child of ours may never be seen again
			r.bury(p)
		}
		r.do(func() { r.settle(p, status) })
	})
	return p, nil
}

// bury has the loop reap a process that has exited, which settles it. Where it
// is the child of somebody else it may still become ours, when that one ends;
// this takes no longer than statusGrace, or than until it was reaped elsewhere.
func (r *Reaper) bury(p *Process) {
	over := time.After(statusGrace)
	for {
		r.do(r.reap)
		if p.reaped() {
			return
		}
		select {
		case <-time.After(lookAgain):
		case <-p.done:
			return
		case <-over:
			return
		case <-r.quit:
			return
		}
	}
}

// do runs f in the loop, unless the reaper is closed.
func (r *Reaper) do(f func()) {
	ran := make(chan struct{})
	select {
	case r.calls <- func() { f(); close(ran) }:
		<-ran
	case <-r.quit:
	}
}

func (r *Reaper) loop(children <-chan os.Signal) {
	if r.told {
		defer r.runGoReap()()
	}
	defer func() {
		for _, p := range r.tracked {
			p.pidfd.Close()
		}
	}()
	var late <-chan time.Time // while a dead child waits for go-reap
	for {
		select {
		case f := <-r.calls:
			f()
		case <-r.reaped:
			r.buried.Add(1)
		case <-children:
			if !r.told {
				r.reap()
			} else if deadChild() != 0 {
				late = time.After(lookAgain)
			}
		case <-late:
			late = nil
			if deadChild() != 0 {
				wake()
			}
		case <-r.quit:
			return
		}
	}
}

// wake makes go-reap and our loop look for dead children.
func wake() { _ = unix.Kill(os.Getpid(), unix.SIGCHLD) } // everybody may signal themselves

// runGoReap starts go-reap, with no lock: nothing that it throws away is
// missed. It returns what ends it, which may just be waiting for the loop.
func (r *Reaper) runGoReap() (end func()) {
	done, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		reap.ReapChildren(r.reaped, nil, done, nil)
		close(stopped)
	}()
	return func() {
		close(done)
		for {
			select {
			case <-r.reaped:
			case <-stopped:
				return
			}
		}
	}
}

// reap waits for every dead child of ours, each by its pid, and keeps the
// status of those that matter. Nobody else waits for our children here, so that
// a pid stays its zombie's until we have waited for it.
func (r *Reaper) reap() {
	for {
		pid := deadChild()
		if pid == 0 {
			return
		}
		p, ok := r.tracked[pid]
		ok = ok && p.ourZombie() // and not one that has its pid after it
		var ws unix.WaitStatus
		got, err := unix.Wait4(pid, &ws, unix.WNOHANG, nil)
		if err == unix.ECHILD {
			continue // somebody has waited for it all the same
		}
		if got != pid {
			return
		}
		r.buried.Add(1)
		if ok {
			r.settle(p, exited(ws))
		}
	}
}

// settle publishes how a process ended, once.
func (r *Reaper) settle(p *Process, status Status) {
	if p.Dead() {
		return
	}
	p.status = status
	if r.tracked[p.pid] == p {
		delete(r.tracked, p.pid)
	}
	close(p.done)
	p.pidfd.Close()
}
