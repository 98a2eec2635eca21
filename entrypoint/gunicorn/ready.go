package gunicorn

import (
	"context"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stablehand/stablehand/internal/proc"
)

// A master forks its workers one after another (Arbiter.spawn_workers): it makes
// a worker's file, calls pre_fork, forks, and pauses for up to 0.1 s. From outside
// nothing says how many there will be. So it counts as having them all when it
// has got or lost none for settled, or for longer, settledBelow, while it has
// fewer than its predecessor; and for clearly longer than it has been seen to
// take for one, see pace.
const (
	settled      = 500 * time.Millisecond
	settledBelow = 2 * time.Second
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

	Reloads bool // gunicorn's own reloader is on, for certain; learned when all are ready

	Lost  int    // those that have been seen to end, and that gunicorn did not mean to replace
	Exits string // how they ended, for a log
}

// Ready waits until every worker has entered its loop: the first heartbeat,
// which comes after the application has loaded. The serving generation's
// number of workers, where there is one, is a hint of how many to expect.
// Each change is told to report. The error is an *ExitError or ctx's. A look
// that fails is followed by another, and counts for nothing.
func (m *Master) Ready(ctx context.Context, hint int, report func(Workers)) error {
	return m.explain(m.awaitBeats(ctx, hint, report))
}

// awaitBeats is Ready where the heartbeats can be read.
func (m *Master) awaitBeats(ctx context.Context, hint int, report func(Workers)) error {
	var told Workers
	var pace pace
	for {
		_, _ = m.note() // for End, which tells of what could not be listed
		m.learnLogs()
		installed := m.Handles(unix.SIGUSR2)
		beats, err := heartbeats(m.PID())
		if unreadable(err, m.Process) {
			return m.awaitBlind(ctx, report)
		}
		forked, err2 := m.ledger.look(m, beating(beats)) // after the files, which come before their workers
		if err == nil && err2 == nil {
			now := m.ledger.figures()
			pace.look(installed, forked, len(beats), now)
			now.All, now.Ready = count(beats)
			if now != told {
				told = now
				report(now)
			}
			least := settled
			if now.All < hint {
				least = settledBelow
			}
			if now.All > 0 && now.Ready == now.All && pace.over(least) && m.waits() {
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

// awaitBlind is awaitBeats without heartbeats: the master has lived, with workers,
// for BlindFor.
func (m *Master) awaitBlind(ctx context.Context, report func(Workers)) error {
	var told Workers
	var pace pace
	reason, do := blindness(m.PID())
	since := time.Now()
	for {
		_, _ = m.note() // for End, which tells of what could not be listed
		installed := m.Handles(unix.SIGUSR2)
		forked, err := m.ledger.look(m, false)
		now := m.ledger.figures()
		now.Blind, now.BlindReason, now.BlindDo = true, reason, do
		if err == nil {
			pace.look(installed, forked, now.All, now)
		}
		if now.All == 0 {
			since = time.Now()
		}
		if now != told {
			told = now
			report(now)
		}
		if time.Since(since) >= BlindFor && pace.over(settled) && m.waits() {
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

// Workers looks at the master's workers once. Of what cannot be read it says
// that there is nothing.
func (m *Master) Workers() Workers {
	beats, err := heartbeats(m.PID())
	_, _ = m.ledger.look(m, beating(beats))
	now := m.ledger.figures()
	if now.Blind = unreadable(err, m.Process); !now.Blind {
		now.All, now.Ready = count(beats)
	} else {
		now.BlindReason, now.BlindDo = blindness(m.PID())
	}
	return now
}
