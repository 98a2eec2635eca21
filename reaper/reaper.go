package reaper

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/go-reap"
	"golang.org/x/sys/unix"
)

// lendAfter is how long no child may have died before go-reap gets its turn,
// and lendAtLast how long a zombie waits for that at most. go-reap waits for
// any child and throws the status away, and gunicorn dies together with its
// workers: on kernels that do not keep a status for us, letting the storm pass
// is what keeps the master's.
const (
	lendAfter  = 5 * time.Millisecond
	lendAtLast = 100 * time.Millisecond
)

// Reaper reaps every child of this process. There can be only one, since the
// kernel has one answer to "any child".
//
// One goroutine, its loop, owns all state. go-reap does the reaping under a
// lock that the loop holds for reading, and lends only while a zombie waits
// that is not a [Process]; a Process that is a child of ours is waited for by
// its pid before that. One that go-reap took all the same, or that was never
// ours, tells its status through its pidfd.
type Reaper struct {
	source  statusSource
	tracked map[int]*Process // by pid, until its status is there
	calls   chan func()      // run by the loop
	quit    chan struct{}
	ended   sync.WaitGroup
	buried  atomic.Int64 // see Reaped

	lock   sync.RWMutex  // go-reap's, see Reaper
	reaped reap.PidCh    // unbuffered: go-reap pauses at each until we look
	done   chan struct{} // ends go-reap
}

var errClosed = errors.New("the reaper is closed")

// New starts reaping. A process that is not PID 1 becomes a child subreaper,
// so that what its descendants leave behind becomes its child all the same.
// It needs Linux 5.4, for pidfds, and /proc; the error says which is missing.
func New() (*Reaper, error) { return start(fromPidfd) }

func start(source statusSource) (*Reaper, error) {
	if err := probe(); err != nil {
		return nil, err
	}
	if os.Getpid() != 1 {
		if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
			return nil, fmt.Errorf("become a child subreaper: %w", err)
		}
	}
	r := &Reaper{
		source:  source,
		tracked: make(map[int]*Process),
		calls:   make(chan func()),
		quit:    make(chan struct{}),
		reaped:  make(reap.PidCh),
		done:    make(chan struct{}),
	}
	r.lock.RLock()
	children := make(chan os.Signal, 1)
	signal.Notify(children, unix.SIGCHLD)
	r.ended.Go(func() {
		r.loop(children)
		signal.Stop(children)
	})
	wake() // for those who died before we could be told
	return r, nil
}

// probe makes sure that the kernel has what Process and Tree stand on.
func probe() error {
	if _, err := os.Stat("/proc/thread-self/children"); err != nil {
		return fmt.Errorf("list children (/proc must be mounted, by a kernel with CONFIG_PROC_CHILDREN): %w", err)
	}
	fd, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		return fmt.Errorf("open a pidfd (Linux 5.4 or newer is needed): %w", err)
	}
	return unix.Close(fd)
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
// up in PATH if it has no slash. The error wraps exec.ErrNotFound or
// fs.ErrNotExist where there is no such program.
func (r *Reaper) Start(argv []string, attr *syscall.ProcAttr) (*Process, error) {
	path, err := exec.LookPath(argv[0])
	if err != nil {
		return nil, err
	}
	p, err := (*Process)(nil), errClosed
	r.do(func() { p, err = r.fork(path, argv, attr) })
	return p, err
}

func (r *Reaper) fork(path string, argv []string, attr *syscall.ProcAttr) (*Process, error) {
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
		return nil, &os.PathError{Op: "run", Path: path, Err: err}
	}
	return r.follow(pid, pidfd)
}

// Open follows a process that somebody else started. For as long as it is
// followed, Open returns the same Process for its pid. The error wraps
// os.ErrProcessDone if there is no such process.
func (r *Reaper) Open(pid int) (*Process, error) {
	p, err := (*Process)(nil), errClosed
	r.do(func() { p, err = r.open(pid) })
	return p, err
}

func (r *Reaper) open(pid int) (*Process, error) {
	if p, ok := r.tracked[pid]; ok {
		return p, nil
	}
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err == unix.ESRCH {
		return nil, fmt.Errorf("process %d: %w", pid, os.ErrProcessDone)
	}
	if err != nil {
		return nil, fmt.Errorf("open process %d: %w", pid, err)
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
		r.do(r.collect)
		status := p.awaitStatus(r.source)
		r.do(func() { r.settle(p, status) })
	})
	return p, nil
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
	var lend <-chan time.Time
	var since time.Time // when the oldest zombie was seen that go-reap is to take
	stopped := make(chan struct{})
	go func() {
		reap.ReapChildren(r.reaped, nil, r.done, &r.lock)
		close(stopped)
	}()
	defer r.close(stopped)

	for {
		select {
		case f := <-r.calls:
			f()
			continue
		case <-children:
		case <-lend:
			wake() // go-reap too may not have been told of this one
			r.lend()
			since = time.Time{}
		case <-r.quit:
			return
		}
		r.collect()
		lend = nil
		if !zombieWaits() {
			continue
		}
		if since.IsZero() {
			since = time.Now()
		}
		lend = time.After(min(lendAfter, time.Until(since.Add(lendAtLast))))
	}
}

// wake makes go-reap and our loop look for dead children.
func wake() { unix.Kill(os.Getpid(), unix.SIGCHLD) }

// close ends go-reap, which may just be waiting for the lock or for us.
func (r *Reaper) close(stopped <-chan struct{}) {
	close(r.done)
	r.lock.RUnlock()
	for {
		select {
		case <-r.reaped:
		case <-stopped:
			for _, p := range r.tracked {
				p.pidfd.Close()
			}
			return
		}
	}
}

// collect waits for those of our children that matter, by pid, and leaves all
// others alone.
func (r *Reaper) collect() {
	for pid, p := range r.tracked {
		var info unix.Siginfo
		err := p.control(func(fd int) error {
			return unix.Waitid(unix.P_PIDFD, fd, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
		})
		if err != nil || info.Signo == 0 {
			continue // alive, or not a child of ours
		}
		// It is our zombie, so its pid is still its own.
		var ws unix.WaitStatus
		if got, err := unix.Wait4(pid, &ws, unix.WNOHANG, nil); err == nil && got == pid {
			r.buried.Add(1)
			r.settle(p, exited(ws))
		}
	}
}

// zombieWaits says whether some dead child of ours has not been reaped.
func zombieWaits() bool {
	var info unix.Siginfo
	err := unix.Waitid(unix.P_ALL, 0, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
	return err == nil && info.Signo != 0
}

// lend gives go-reap its turn, until it finds no zombie any more. At each
// child that it reports go-reap stands still, and we first take what matters
// of those that have died meanwhile.
func (r *Reaper) lend() {
	back := make(chan struct{})
	r.lock.RUnlock()
	go func() {
		r.lock.RLock()
		close(back)
	}()
	for {
		r.collect()
		select {
		case pid := <-r.reaped:
			r.buried.Add(1)
			r.taken(pid)
		case <-back:
			return
		}
	}
}

// taken deals with a child that go-reap reaped. For one that matters, the
// pidfd is the only one left to ask.
func (r *Reaper) taken(pid int) {
	p, ok := r.tracked[pid]
	if !ok {
		return
	}
	var status Status
	p.control(func(fd int) error {
		status, _ = r.source(fd)
		return nil
	})
	r.settle(p, status)
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
