package gunicorn

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stablehand/stablehand/internal/proc"
	"github.com/stablehand/stablehand/reaper"
)

// lookEvery is the pause between two looks at the process table while
// something is awaited that sends no event.
const lookEvery = 20 * time.Millisecond

// Where it is not known whether what is awaited will ever come, the looks get
// rarer: each pause is at least a seldomth of the time that has passed, up to
// lookAtLast. So they take at first 20 ms, and after 10 s a second.
const (
	seldom     = 10
	lookAtLast = time.Second
)

// seldomer is the pause before the next such look.
func seldomer(begun time.Time) time.Duration {
	return min(max(lookEvery, time.Since(begun)/seldom), lookAtLast)
}

// Master is one gunicorn master with its workers: a generation, seen from
// outside. Signal, Deliver, Finish, Hurry, Workers, Processes, Dial and what is behind Process
// may be used from any goroutine, all else from one at a time.
type Master struct {
	*reaper.Process
	reaper      *reaper.Reaper
	dir         string                 // where gunicorn will start its successor, see startDir
	interpreter string                 // by which it will, see interpreter
	parent      int                    // the old master that it was brought up by, 0 for none
	own         *Identity              // of the command, where it was adopted; nil where it was started by us
	pidfile     string                 // as the words have it; empty for none
	heir        int                    // then, the process that inherits what it leaves: of who was above its stablehand
	started     uint64                 // then, when; see proc.Info
	promoted    atomic.Bool            // it has seen that one go
	next        atomic.Pointer[Master] // its successor, while there is one
	direct      bool                   // it is what the command has been from the start
	beside      []proc.Info            // children that are not of its generation, see container
	seeing      sync.Mutex
	seen        []proc.Info  // processes of its generation, see Processes
	title       []string     // its command line, as last seen
	sockets     []string     // on which it listens, as last seen, or as was given to it
	mark        string       // of a generation that was begun afresh, see orphans
	before      map[int]bool // children that it had before it was asked for a successor
	asked       bool         // for one that has not come, see Late
	ledger      ledger
	dirty       dirty
	halting     halting
	logs        atomic.Pointer[[]string] // see Logs
	preloads    atomic.Bool              // see Preloads
}

// Origin is with what a command was started.
type Origin struct {
	Argv    []string
	Pidfile string   // that is named there
	Mark    string   // in MarkVariable, where it was begun afresh
	Sockets []string // then, those that it is to listen on, as in proc.Descriptor
}

// Find waits until command or what it has started is a gunicorn master. It
// returns an error when ctx ends or the command does. A look that fails is
// followed by another, as one that finds nothing is.
func Find(ctx context.Context, r *reaper.Reaper, command *reaper.Process, with Origin) (*Master, error) {
	for begun := time.Now(); ; {
		if pid, ok, _ := findMaster(command.PID()); ok {
			if p, err := r.Open(pid); err == nil {
				m := &Master{Process: p, reaper: r, pidfile: with.Pidfile, mark: with.Mark, sockets: with.Sockets}
				m.meet(pid == command.PID(), with.Argv)
				return m, nil
			}
		}
		if err := pauseFor(ctx, command, seldomer(begun)); err != nil {
			return nil, err
		}
	}
}

// ExitError is the error of waiting for something of a process that has ended.
type ExitError struct {
	PID     int
	Status  reaper.Status
	Workers []reaper.Status // with what its workers ended, where that are other codes than its own

	oomKilled bool // the kernel has killed it for want of memory
}

// Error says how the process ended. A master that is stopped by a worker's code,
// and then by another's as it stops, ends with neither: so it says theirs, too.
func (e *ExitError) Error() string {
	var workers []string
	for _, status := range e.Workers {
		workers = append(workers, inWords(status))
	}
	if e.oomKilled {
		return ending{e.Status, true}.String()
	}
	if len(workers) == 0 {
		return inWords(e.Status)
	}
	return inWords(e.Status) + "; its workers ended with " + strings.Join(workers, " and ")
}

// inWords says how a process ended, in gunicorn's words where its exit code
// has a meaning: 3 and 4 are Arbiter.WORKER_BOOT_ERROR and APP_LOAD_ERROR.
func inWords(status reaper.Status) string {
	text := status.String()
	if !status.Known() || status.Signal() != 0 {
		return text
	}
	switch status.ExitCode() {
	case 3:
		text += " (a worker failed to boot)"
	case 4:
		text += " (the application failed to load)"
	}
	return text
}

// ExitCode is the code to exit with on the process's behalf.
func (e *ExitError) ExitCode() int { return e.Status.ExitCode() }

// Advice is what can be done about it, in which lines says where gunicorn's own
// stand.
func (e *ExitError) Advice(lines string) string {
	if e.Status.Signal() == unix.SIGKILL {
		return "if nobody has killed it, give the container more memory"
	}
	return "mend what " + lines + " tell of"
}

// OutOfMemory says whether the kernel has killed it for want of memory.
func (e *ExitError) OutOfMemory() bool { return e.oomKilled }

// ByWorker says whether the master has ended since a worker could not load the
// application: Arbiter.WORKER_BOOT_ERROR and APP_LOAD_ERROR.
func (e *ExitError) ByWorker() bool {
	code := func(status reaper.Status) bool { // 1 of one that is unknown, above 128 of a signal
		return status.ExitCode() == 3 || status.ExitCode() == 4
	}
	return code(e.Status) || slices.ContainsFunc(e.Workers, code)
}

// advised is an error that knows what can be done about it. In do theLines stands
// for where gunicorn's lines are.
type advised struct {
	error
	do string
}

const theLines = "LINES"

// Unwrap returns the error without its advice.
func (a advised) Unwrap() error { return a.error }

// Advice is what can be done about the error, in which lines says where gunicorn's
// own stand.
func (a advised) Advice(lines string) string { return strings.ReplaceAll(a.do, theLines, lines) }

// pause waits until it is time to look again, p has ended or ctx has.
func pause(ctx context.Context, p *reaper.Process) error { return pauseFor(ctx, p, lookEvery) }

// pauseFor is pause with another time until the next look.
func pauseFor(ctx context.Context, p *reaper.Process, wait time.Duration) error {
	select {
	case <-time.After(wait):
		return nil
	case <-p.Done():
		return &ExitError{PID: p.PID(), Status: p.Status()}
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Handles says whether the master has installed its handler for sig. Before
// that the signal would do what the kernel does by default: HUP, USR1 and
// USR2 would kill it.
func (m *Master) Handles(sig unix.Signal) bool { return handles(m.PID(), sig) }

// Deliver sends sig as soon as the master handles it, and not only Python, which has a
// handler for INT from its start. It gives up when ctx or the master ends.
func (m *Master) Deliver(ctx context.Context, sig unix.Signal) error {
	for !m.Handles(sig) || !m.Handles(unix.SIGUSR2) { // the handlers are installed together
		if err := pause(ctx, m.Process); err != nil {
			return err
		}
	}
	return m.Signal(sig)
}

// Processes lists what lives of the master's generation, itself included but
// not its successor's: its tree, what was in it at an earlier call, and what has
// been left behind by it, see orphans. Beside an error it lists what it could, and
// what it knew before it still knows.
func (m *Master) Processes() ([]proc.Info, error) { return m.list(m.orphans) }

// note is Processes without what has been left behind, for who looks often: what is
// there now is known for later.
func (m *Master) note() ([]proc.Info, error) {
	return m.list(func() ([]proc.Info, error) { return nil, nil })
}

func (m *Master) list(orphans func() ([]proc.Info, error)) ([]proc.Info, error) {
	m.seeing.Lock()
	defer m.seeing.Unlock()
	tree, err := m.tree()
	left, err2 := proc.Living(m.seen)
	others, err3 := orphans()
	m.seen = proc.Merge(tree, left, others)
	return slices.Clone(m.seen), errors.Join(err, err2, err3)
}

// tree is the master's tree without what is not of its generation.
func (m *Master) tree() ([]proc.Info, error) {
	if m.Dead() {
		return nil, nil // its pid may be another's
	}
	return m.treeOf(m.PID())
}

// treeOf is a process's tree without the successor's, which is one of the master's
// branches until that has gone, and without what was there before gunicorn.
func (m *Master) treeOf(pid int) ([]proc.Info, error) {
	beside, err := proc.Living(m.beside)
	var except []int
	for _, info := range beside {
		except = append(except, info.PID)
	}
	if next := m.next.Load(); next != nil {
		except = append(except, next.PID())
	}
	tree, err2 := proc.TreeWithout(pid, except...)
	return tree, errors.Join(err, err2)
}

// heirs is the process whose children the master's become when it ends.
func (m *Master) heirs() int {
	if m.own == nil {
		return os.Getpid()
	}
	return m.heir
}

// isOwn says whether a process that names the right old master is the command's:
// it is if only we can have started it.
func (m *Master) isOwn(pid int) bool {
	if m.own == nil {
		return true
	}
	user, err := proc.User(pid)
	return err == nil && user == os.Geteuid() && m.own.proves(pid) == nil
}

// Hurry sends sig, INT or QUIT, to all of the master's generation but itself:
// gunicorn 23 and older ignore both while a TERM is under way, and their workers
// do not.
func (m *Master) Hurry(sig unix.Signal) error {
	tree, err := m.tree()
	workers := slices.DeleteFunc(tree, func(i proc.Info) bool { return i.PID == m.PID() })
	return errors.Join(err, proc.Kill(workers, sig))
}

// unreadable says whether an error means that the process table keeps from us
// what we ask for, and not just that the process has gone or is about to. Where
// that cannot be read either, it has not shown itself yet.
func unreadable(err error, p *reaper.Process) bool {
	if !errors.Is(err, fs.ErrPermission) {
		return false
	}
	info, err := proc.Stat(p.PID())
	return err == nil && info.Alive() && !info.Exiting
}

// End ends all that lives of the master's generation. With a grace above 0
// its master first gets TERM, and that long to finish what its workers hold;
// then, or at once, everything left is killed. A successor is waited for until
// the old master has reaped it, too: that one takes no USR2 before. Its pidfile, which
// it leaves behind when it is killed, is removed. Without an error Done is closed.
func (m *Master) End(ctx context.Context, grace time.Duration) error {
	if grace > 0 {
		part, cancel := context.WithTimeout(ctx, grace/2) // the rest is its own
		defer cancel()
		begun := time.Now()
		if m.Finish(part) == nil {
			proc.Gone(ctx, m.Processes, grace-time.Since(begun))
		}
	}
	if err := proc.End(ctx, m.Processes); err != nil {
		return err
	}
	if m.parent != 0 {
		m.removePidfile(ctx)
		m.reaped(ctx)
	}
	select {
	case <-m.Done(): // the process table may tell sooner than a pidfd
	case <-ctx.Done():
		if !m.Dead() {
			return context.Cause(ctx)
		}
	}
	return nil
}

// reaped waits until the old master has reaped this one, which has ended, or ctx ends.
func (m *Master) reaped(ctx context.Context) {
	for {
		info, err := proc.Stat(m.PID())
		if errors.Is(err, os.ErrProcessDone) || err == nil && info.Parent != m.parent {
			return
		}
		select {
		case <-time.After(lookEvery):
		case <-ctx.Done():
			return
		}
	}
}
