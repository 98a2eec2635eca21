package gunicorn

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stablehand/stablehand/internal/proc"
)

// A master forks its workers one after another (Arbiter.spawn_workers): it makes
// a worker's file, calls pre_fork, forks, and pauses for up to 0.1 s. From outside
// nothing says how many there will be. So it counts as having them all when it
// has got or lost none for settled, or for longer, settledBelow, while it has
// fewer than its predecessor; and for clearly longer than it has been seen to
// take for one, see pace. Where it is seen to wait as it does in its loop, which
// comes after the last of them, settledInLoop is enough: longer than that pause.
const (
	settled       = 500 * time.Millisecond
	settledBelow  = 2 * time.Second
	settledInLoop = 150 * time.Millisecond
)

// BlindFor is how long a master must have lived, with workers, to count as
// ready where the heartbeats cannot be read.
const BlindFor = 10 * time.Second

// Workers is what is known of a master's workers.
type Workers struct {
	All   int  // workers forked so far
	Ready int  // those that have entered their loop
	Blind bool // the heartbeats cannot be read: Ready is not known

	BlindReason, BlindDo string // then, why, and what to do about it

	Dirty      int // the same as All, of dirty workers, which are not among those
	DirtyReady int // those that have loaded their applications

	Reloads bool // gunicorn's own reloader is on, for certain; learned when all are ready

	Lost      int    // those that have been seen to end, and that gunicorn did not mean to replace
	OOMKilled int    // of these, those that the kernel has killed for want of memory
	Exits     string // how they ended, for a log
}

// Ready waits until every worker has entered its loop, dirty ones too: the first
// heartbeat, which comes after the application has loaded. The serving generation's
// number of workers, where there is one, is a hint of how many to expect.
// Each change is told to report. The error is an *ExitError or ctx's. A look
// that fails is followed by another, and counts for nothing.
func (m *Master) Ready(ctx context.Context, hint int, report func(Workers)) error {
	return m.explain(m.awaitBeats(ctx, hint, report))
}

// awaitBeats is Ready where the heartbeats can be read.
func (m *Master) awaitBeats(ctx context.Context, hint int, report func(Workers)) error {
	var told Workers
	var looks looks
	for {
		now, err := looks.look(m)
		if errors.Is(err, errBlind) {
			return m.awaitBlind(ctx, report)
		}
		if err == nil {
			if now != told {
				told = now
				report(now)
			}
			if looks.haveSeenAll(m, now, hint) {
				m.ledger.isReady(now.All)
				m.learnAll(ctx, now, report)
				return nil
			}
		}
		if err := pause(ctx, m.Process); err != nil {
			return err
		}
	}
}

// looks are those at a master that is getting its workers, one every lookEvery.
type looks struct {
	unlisted int // looks to come that do not list what there is
	beats    beats
	pace     pace
	loops    [2]bool // what m.loops said in the look before, and in the last one
}

// fewListed is how many processes are listed at each look. More are listed the more seldom,
// so that a look takes about as long as with these.
const fewListed = 8

// list notes what the generation has, for End, and where it logs.
func (l *looks) list(m *Master) {
	if l.unlisted > 0 {
		l.unlisted--
		return
	}
	there, _ := m.note() // End tells of what could not be listed
	m.learnLogs()
	l.unlisted = len(there) / fewListed
}

// errBlind is where the heartbeats cannot be read.
var errBlind = errors.New("the heartbeats cannot be read")

// look looks at the workers once. One that fails counts for nothing.
func (l *looks) look(m *Master) (now Workers, err error) {
	l.list(m)
	l.loops = [2]bool{l.loops[1], m.loops()}
	installed := m.Handles(unix.SIGUSR2)
	beats, err := l.beats.look(m.PID())
	if unreadable(err, m.Process) {
		return now, errBlind
	}
	forked, err2 := m.ledger.look(m, beating(beats)) // after the files, which come before their workers
	if err := errors.Join(err, err2); err != nil {
		return now, err
	}
	now = m.ledger.figures()
	l.pace.look(installed, forked, len(beats), now)
	now.All, now.Ready = count(beats)
	m.countDirty(beats, &now)
	return now, nil
}

// haveSeenAll says whether all workers are there and ready, as far as anybody can tell.
func (l *looks) haveSeenAll(m *Master, now Workers, hint int) bool {
	least := settled
	switch {
	case now.All < hint:
		least = settledBelow
	case l.loops == [2]bool{true, true}:
		least = settledInLoop
	}
	return now.All > 0 && now.Ready == now.All && l.pace.over(least) && m.dirty.over() && m.waits()
}

// awaitBlind is awaitBeats without heartbeats: the master has lived, with workers,
// for BlindFor.
func (m *Master) awaitBlind(ctx context.Context, report func(Workers)) error {
	var told Workers
	var looks looks
	reason, do := blindness(m.PID())
	since := time.Now()
	for {
		looks.list(m)
		installed := m.Handles(unix.SIGUSR2)
		forked, err := m.ledger.look(m, false)
		now := m.ledger.figures()
		now.Blind, now.BlindReason, now.BlindDo = true, reason, do
		if err == nil {
			looks.pace.look(installed, forked, now.All, now)
		}
		if now.All == 0 {
			since = time.Now()
		}
		if now != told {
			told = now
			report(now)
		}
		if time.Since(since) >= BlindFor && looks.pace.over(settled) && m.waits() {
			m.ledger.isReady(now.All)
			m.learnAll(ctx, now, report)
			return nil
		}
		if err := pause(ctx, m.Process); err != nil {
			return err
		}
	}
}

// waits says whether the master sleeps, as it does in its loop. One that is at
// work, stopped, or kept from the processor may be about to fork.
func (m *Master) waits() bool {
	info, err := proc.Stat(m.PID())
	return err == nil && info.State == 'S'
}

// loops says whether the master waits for a signal as it does in its loop, and not as
// between two forks, which is a time.sleep. Only gunicorn 25 and newer can be told so:
// they wait for a queue, by a futex, where older ones call select, as time.sleep does
// before Python 3.11. Other threads may keep the master waiting by a futex, too, for
// some milliseconds: one look is not enough.
func (m *Master) loops() bool {
	where, err := proc.WaitsIn(m.PID())
	return err == nil && strings.HasPrefix(where, "futex")
}

// beating says whether any worker has entered its loop.
func beating(beats []heartbeat) bool {
	return slices.ContainsFunc(beats, func(b heartbeat) bool { return b.beaten })
}

func count(beats []heartbeat) (all, ready int) {
	for _, b := range beats {
		if b.beaten {
			ready++
		}
	}
	return len(beats), ready
}

// countDirty looks at the master's dirty workers, and adds them to what is known of its
// workers. It is told the files that the master holds, and goes by the children that the
// ledger has found.
func (m *Master) countDirty(own []heartbeat, now *Workers) {
	m.dirty.look(m, own, m.ledger.children())
	m.dirty.count(now)
}

// Workers looks at the master's workers once. Of what cannot be read it says
// that there is nothing.
func (m *Master) Workers() Workers {
	beats, err := heartbeats(m.PID())
	_, _ = m.ledger.look(m, beating(beats))
	now := m.ledger.figures()
	if now.Blind = unreadable(err, m.Process); !now.Blind {
		now.All, now.Ready = count(beats)
		m.countDirty(beats, &now)
	} else {
		now.BlindReason, now.BlindDo = blindness(m.PID())
	}
	return now
}
