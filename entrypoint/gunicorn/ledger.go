package gunicorn

import (
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stablehand/stablehand/internal/proc"
	"github.com/stablehand/stablehand/reaper"
)

// ledger is the workers of one generation: which there are, and how those have
// ended that were lost. It is written at each look, and read from any goroutine.
//
// A worker is followed from the first look that shows it, so that its exit status
// is known although it is gunicorn that waits for it. One that comes and ends
// between two looks is missed: what was lost is at least that many.
//
// Lost is who ended by a signal or with another code than 0. With 0 ends who
// has been asked to, by TTOU, and who has served max_requests; but they come out
// of their loop, so that 0 is a loss as long as no worker has entered one. gunicorn
// asks by TERM, and again if that takes a while: one that gets it while Python ends
// has no handler any more, so that TERM is as good as 0 (seen on 20.1.0). An
// end of which nobody knows how is a loss until the generation has been ready.
// After that it is one where no other worker has taken the place, which only a
// soak asks.
//
// What the master has forked before its first worker is none: a pool of the
// application that it preloads, or what on_starting and when_ready have begun. It runs
// the master's program as workers do, but holds no worker's file; the dirty arbiter, which
// counts as a worker, soon holds those of its own. What the master forks later, beside
// its workers, is taken for one.
type ledger struct {
	mu      sync.Mutex
	workers map[int]*worker
	others  map[int]other // children that are no workers
	there   []int         // the master's children at the last look
	forked  bool          // the master may have forked a worker: see hasForked
	beating bool          // a worker has entered its loop
	ready   bool          // the generation has been ready
	all     int           // workers that it had then
	lost    tally         // since the generation was first seen
	soaking tally         // since it was ready
	unknown int           // ended since it was ready, and nobody knows how

	killings killings
}

// worker is a child of the master that runs its program: a worker, or the one
// that has the dirty workers.
type worker struct {
	process *reaper.Process // nil where there was no descriptor to follow it by
	sure    bool            // seen twice: it is not about to become another program
	ended   bool            // and in the ledger as such, until its master has reaped it
}

// other is a child of the master that is no worker.
type other struct {
	early bool      // it came before the workers, and may be the dirty arbiter
	again time.Time // when it is looked at again for that
}

// arbiterEvery is how long nobody looks whether a child that came before the workers
// has turned out to be the dirty arbiter, which takes that a few tenths of a second.
const arbiterEvery = 200 * time.Millisecond

// look notes which workers have come, whether any has, and which have ended. It is
// told whether any has entered its loop.
func (l *ledger) look(m *Master, beating bool) (came bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.beating = l.beating || beating
	var children []int
	if !m.Dead() { // else its pid may be another's
		if children, err = proc.Children(m.PID()); err != nil {
			return false, err
		}
		l.killings.countFor(m.PID())
	}
	l.there = children
	l.killings.look()  // the kernel counts them before they end
	early := !l.forked // then who is new may have come before all workers
	if early && slices.ContainsFunc(children, l.isNew) {
		if l.forked, err = m.hasForked(); err != nil { // after its children, see there
			return false, err
		}
	}
	there := make(map[int]bool)
	for _, pid := range children {
		there[pid] = true
	}
	maps.DeleteFunc(l.others, func(pid int, _ other) bool { return !there[pid] })
	for pid, w := range l.workers {
		l.bury(m, pid, w, there[pid])
	}
	for _, pid := range children {
		came = l.meet(m, pid, early) || came
	}
	return came, nil
}

// children are the master's, as the last look has found them.
func (l *ledger) children() []int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.there
}

// isNew says whether a child has not been met yet.
func (l *ledger) isNew(pid int) bool {
	_, is := l.others[pid]
	return !is && l.workers[pid] == nil
}

// hasForked says whether a master may have forked a worker. It holds a file of each,
// which it makes before it forks, and closes after it has reaped the worker. So if it
// holds none, then no process is a worker that was its child before that look and is
// still. Where its files are kept from us, it has forked none while it has no handlers:
// these it installs when it has loaded what it preloads and called on_starting (20.1.0
// and 27.0.1).
func (m *Master) hasForked() (bool, error) {
	files, err := heartbeats(m.PID())
	if !unreadable(err, m.Process) {
		return len(files) > 0, err
	}
	installed, err := proc.Catches(m.PID(), unix.SIGUSR2)
	return installed || err != nil, nil
}

// holdsNone says whether a process lives and holds no worker's file. A worker
// holds its own until it is about to end, but may be kept from us.
func holdsNone(pid int) bool {
	files, err := heartbeats(pid)
	info, err2 := proc.Stat(pid) // after them: who ends gives them up
	return err == nil && err2 == nil && len(files) == 0 && info.Alive() && !info.Exiting
}

// bury notes the end of a worker, once, and forgets it when its pid is free. One that
// was seen but once may have become another program before it ended, and only what the
// kernel keeps of it says what it was.
func (l *ledger) bury(m *Master, pid int, w *worker, there bool) {
	dead := !there || w.process != nil && w.process.Dead()
	if dead && !w.ended && !w.sure {
		is, err := m.isWorker(pid)
		w.ended = !there || err != nil || !is
	}
	if !w.ended && !there && w.process == nil {
		l.end(reaper.Status{})
		w.ended = true
	}
	if !w.ended && w.process != nil && w.process.Dead() {
		l.end(w.process.Status())
		w.ended = true
	}
	if w.ended && (!there || proc.Alive(pid)) {
		delete(l.workers, pid)
	}
}

// meet notes a child of the master, and says whether it is a new worker. It is told
// whether one that is new may have come before all workers.
func (l *ledger) meet(m *Master, pid int, early bool) bool {
	if o, is := l.others[pid]; is {
		l.meetAgain(m, pid, o)
		return false
	}
	w, known := l.workers[pid]
	if known && (w.sure || w.ended) {
		return false
	}
	is, err := m.isWorker(pid)
	switch {
	case err != nil: // it has gone, or is looked at again
		return false
	case !is:
		l.other(pid, other{})
		return false
	case known:
		w.sure = true
		return false
	case !l.forked, early && holdsNone(pid):
		l.other(pid, other{early: true})
		return false
	}
	l.followChild(m, pid)
	return true
}

// meetAgain looks whether a child that came before the workers is the dirty arbiter,
// which is forked before them (27.0.1), and has workers of its own a little later.
func (l *ledger) meetAgain(m *Master, pid int, o other) {
	if !o.early || time.Now().Before(o.again) {
		return
	}
	if is, err := isWorker(pid); is && err == nil {
		delete(l.others, pid)
		l.followChild(m, pid)
		return
	}
	o.again = time.Now().Add(arbiterEvery)
	l.others[pid] = o
}

func (l *ledger) followChild(m *Master, pid int) {
	process, _ := m.reaper.OpenIfRoom(pid) // else it is only known to have ended
	l.follow(pid, process)
}

func (l *ledger) follow(pid int, process *reaper.Process) {
	if l.workers == nil {
		l.workers = make(map[int]*worker)
	}
	l.workers[pid] = &worker{process: process}
}

func (l *ledger) other(pid int, what other) {
	if l.others == nil {
		l.others = make(map[int]other)
	}
	l.others[pid] = what
	delete(l.workers, pid)
}

// isNot notes that a child of the master is no worker.
func (l *ledger) isNot(pid int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.other(pid, other{})
}

// isWorker says whether a child of the master runs the master's own program, and
// is not its successor. It may still be about to become another one, in the
// instant between fork and exec.
func (m *Master) isWorker(child int) (bool, error) {
	if next := m.next.Load(); next != nil && next.PID() == child {
		return false, nil
	}
	if old, err := parentMaster(child); err == nil && old == m.PID() {
		return false, nil
	}
	argv, err := proc.Cmdline(child)
	if err != nil || isGunicorn(argv) {
		return err == nil, err
	}
	read := proc.Cmdline
	if len(argv) == 0 { // it is dead, and only its name is left
		read = func(pid int) ([]string, error) {
			name, err := proc.Status(pid, "Name")
			return []string{name}, err
		}
	}
	its, err := read(child)
	own, err2 := read(m.PID())
	return slices.Equal(its, own), errors.Join(err, err2)
}

// end notes how a worker has ended.
func (l *ledger) end(how reaper.Status) {
	switch {
	case how.Known() && (how.ExitCode() == 0 || how.Signal() == unix.SIGTERM) && l.beating:
	case !how.Known() && l.ready:
		l.unknown++
	default:
		e := ending{how, l.killings.took(how)}
		l.lost.add(e)
		if l.ready {
			l.soaking.add(e)
		}
	}
}

// isReady notes that the generation is ready, with all its workers.
func (l *ledger) isReady(all int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.beating, l.ready, l.all = true, true, all
}

// figures are those of the workers that are there, where no heartbeat tells more,
// and of those that were lost.
func (l *ledger) figures() Workers {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := Workers{Lost: l.lost.total(), OOMKilled: l.lost.oomKilled(), Exits: l.lost.String()}
	for _, worker := range l.workers {
		if !worker.ended {
			w.All++
		}
	}
	return w
}

// soaked is how those ended that were lost since the generation was ready, empty if
// none was. At the end of a soak it counts those of which nobody knows, too, where
// fewer are ready now than there were.
func (l *ledger) soaked(over bool, ready int) tally {
	l.mu.Lock()
	defer l.mu.Unlock()
	if over && l.unknown > 0 && ready < l.all && len(l.soaking) == 0 {
		return tally{{times: l.unknown}}
	}
	return slices.Clone(l.soaking)
}

// dying says whether a worker has ended of which it is not in the ledger yet.
func (l *ledger) dying() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for pid, w := range l.workers {
		if !w.ended && !proc.Alive(pid) {
			return true
		}
	}
	return false
}

// codes is how workers were lost that ended with exit codes other than 0 and that one,
// for the end of a master of which that was the reason.
func (l *ledger) codes(except int) []reaper.Status {
	l.mu.Lock()
	defer l.mu.Unlock()
	var codes []reaper.Status
	for _, e := range l.lost {
		if code := e.how.ExitCode(); e.how.Known() && e.how.Signal() == 0 && code != 0 && code != except {
			codes = append(codes, e.how)
		}
	}
	return codes
}

// burialGrace is how long the statuses of workers may take to come that ended with
// their master: until we have reaped them, whose children they have become.
const burialGrace = 200 * time.Millisecond

// explain adds to the error of a master that has ended how its workers did, which
// is why it did.
func (m *Master) explain(err error) error {
	exit := new(ExitError)
	if !errors.As(err, &exit) {
		return err
	}
	for end := time.Now().Add(burialGrace); ; time.Sleep(lookEvery) {
		_, _ = m.ledger.look(m, false) // of a master that has ended there is nothing to be listed
		if !m.ledger.dying() || time.Now().After(end) {
			break
		}
	}
	exit.Workers = m.ledger.codes(exit.ExitCode())
	exit.oomKilled = exit.oomKilled || m.ledger.masterKilled(exit.Status)
	return err
}

// masterKilled says whether the kernel has killed the master for want of memory.
func (l *ledger) masterKilled(how reaper.Status) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.killings.took(how)
}
