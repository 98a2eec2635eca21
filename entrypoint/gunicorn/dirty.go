package gunicorn

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stablehand/stablehand/internal/proc"
)

// dirty is the dirty workers of one generation (gunicorn 25 and later): which there
// are, and how many have loaded their applications. Until then a request that needs
// one waits, and fails after 5 s. It may be used from any goroutine.
//
// The master forks the dirty arbiter when it has its handlers, before when_ready and
// its workers, and another one in place of one that ends. The arbiter holds a heartbeat
// file for each dirty worker, which that touches for the first time when it has loaded
// and listens; it pauses for 0.1 s between two of them (DirtyArbiter.manage_workers,
// 25.3.0 to 27.0.1). One that takes another's place was forked while there were workers,
// and holds their files, too.
//
// It is told from all else that a master forks by its handlers, see kindOf. Before it
// has installed its own, which takes it as long as on_dirty_starting does, it looks like
// what when_ready may have forked: that is waited for, but no longer than becomesIn.
type dirty struct {
	mu      sync.Mutex
	kinds   map[int]child // the master's children, once it is clear what they are
	arbiter int           // 0 while there is none
	since   time.Time     // when it was first seen as such
	due     bool          // there has been one with workers: gunicorn starts another
	coming  bool          // a child may be about to become one
	hidden  bool          // its files are kept from us
	pace    pace
	all     int
	ready   int
	loading []heartbeat // of those that had not loaded at the last look
	lost    int         // that have ended before they had
}

// becomesIn is how long a child that looks as if it may become the arbiter is waited
// for, and how long an arbiter without workers: one whose applications want none
// (workers = 0) never gets any.
const becomesIn = settledBelow

// sureIn is how long a child must not look like the arbiter to be none: while that
// installs its handlers it has none of them for an instant.
const sureIn = 5 * lookEvery

// child is what is known of a child of the master.
type child struct {
	kind kind
	seen time.Time
	not  time.Time // since when it does not look like the arbiter
}

type kind int

const (
	unclear   kind = iota // it has all handlers of its master still
	arbiter               // it has the dirty workers
	something             // a worker, a successor, or what the application has begun
)

// look counts the dirty workers. It is told the files that the master holds, and which
// children it has.
func (d *dirty) look(m *Master, own []heartbeat, children []int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.meet(m, children)
	if d.arbiter == 0 {
		d.all, d.ready = 0, 0
		return
	}
	held, err := heartbeats(d.arbiter)
	again, err2 := heartbeats(m.PID()) // of those that it may have come by, none is missed
	if d.hidden = errors.Is(err, fs.ErrPermission) && lives(d.arbiter); d.hidden || err != nil || err2 != nil {
		return
	}
	held = slices.DeleteFunc(held, func(b heartbeat) bool { return holds(own, b) || holds(again, b) })
	d.lose(held)
	more := len(held) > d.all
	d.all, d.ready = count(held)
	d.due = d.due || d.all > 0
	d.pace.look(true, more, d.all, Workers{All: d.all})
}

// meet learns what the master's children are.
func (d *dirty) meet(m *Master, children []int) {
	before := d.kinds
	d.kinds, d.coming = make(map[int]child), false
	there := 0
	for _, pid := range children {
		c, known := before[pid]
		if !known {
			c.seen = time.Now()
		}
		c.learn(m, pid)
		d.kinds[pid] = c
		switch {
		case c.kind == arbiter && lives(pid):
			there = pid
		case c.kind == unclear && time.Since(c.seen) < becomesIn && holdsNone(pid):
			d.coming = true
		}
	}
	if there != d.arbiter { // whose workers go with it
		d.arbiter, d.since, d.pace, d.loading = there, time.Now(), pace{}, nil
	}
}

// learn looks what a child is, until that is clear.
func (c *child) learn(m *Master, pid int) {
	if c.kind != unclear {
		return
	}
	switch kind := m.kindOf(pid); {
	case kind != something:
		c.kind, c.not = kind, time.Time{}
	case c.not.IsZero():
		c.not = time.Now()
	case time.Since(c.not) >= sureIn:
		c.kind = something
	}
}

// kindOf tells the dirty arbiter from all else that a master has forked: it has HUP,
// CHLD and TTIN handled, as its master does, but not USR2. A worker gives up HUP, before
// that, and CHLD; a successor has all of them (DirtyArbiter.init_signals and
// Worker.init_signals, 25.3.0 to 27.0.1).
func (m *Master) kindOf(pid int) kind {
	caught, err := proc.Set(pid, "SigCgt")
	if err != nil {
		return unclear
	}
	has := func(sig unix.Signal) bool { return caught&(1<<(sig-1)) != 0 }
	if !has(unix.SIGHUP) || !has(unix.SIGCHLD) || !has(unix.SIGTTIN) {
		return something
	}
	if has(unix.SIGUSR2) {
		return unclear
	}
	switch is, err := m.isWorker(pid); {
	case err != nil:
		return unclear
	case !is:
		return something
	}
	return arbiter
}

// over says whether all dirty workers have loaded, and no more are to come, as far as
// that can be told.
func (d *dirty) over() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.coming:
		return false
	case d.arbiter != 0 && d.all == 0 && !d.hidden:
		return time.Since(d.since) >= becomesIn
	case !d.due, d.hidden:
		return true
	}
	return d.arbiter != 0 && d.ready == d.all && d.pace.over(settled)
}

// lose counts those that have ended as they loaded: the arbiter closes the file of a
// worker that has ended, and makes one for another.
func (d *dirty) lose(held []heartbeat) {
	for _, b := range d.loading {
		is := func(other heartbeat) bool { return other.inode == b.inode && (other.beaten || other.made == b.made) }
		if !slices.ContainsFunc(held, is) {
			d.lost++
		}
	}
	d.loading = slices.DeleteFunc(slices.Clone(held), func(b heartbeat) bool { return b.beaten })
}

// count adds to what is known of a master's workers how many dirty ones there are, how many
// of them have loaded, and how many were lost as they did.
func (d *dirty) count(w *Workers) {
	d.mu.Lock()
	defer d.mu.Unlock()
	w.Dirty, w.DirtyReady = d.all, d.ready
	if d.lost == 0 {
		return
	}
	w.Lost += d.lost
	if w.Exits != "" {
		w.Exits += ", "
	}
	w.Exits += fmt.Sprintf("dirty workers that ended as they loaded: %d", d.lost)
}

func holds(files []heartbeat, one heartbeat) bool {
	return slices.ContainsFunc(files, func(b heartbeat) bool { return b.inode == one.inode })
}

// lives says whether a process lives, and is not about to end.
func lives(pid int) bool {
	info, err := proc.Stat(pid)
	return err == nil && info.Alive() && !info.Exiting
}
