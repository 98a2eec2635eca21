package gunicorn

import (
	"context"
	"slices"
	"time"

	"github.com/stablehand/stablehand/reaper"
)

// A master forks its workers one after another, with up to 0.1 s between two
// (Arbiter.spawn_workers), and from outside nothing says how many there will
// be. So it counts as having them all when it has got or lost none for
// settled; for longer, settledBelow, while it has fewer than its predecessor.
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
	Blind bool // the heartbeats cannot be read: Ready is not known, All is the master's children
}

// Ready waits until every worker has entered its loop: the first heartbeat,
// which comes after the application has loaded. The serving generation's
// number of workers, where there is one, is a hint of how many to expect.
// Each change is told to report. The error is an *ExitError or ctx's.
func (m *Master) Ready(ctx context.Context, hint int, report func(Workers)) error {
	var last []heartbeat
	var told Workers
	since := time.Now()
	for {
		m.Processes()
		m.ready = reaper.Children(m.PID())
		beats, err := heartbeats(m.PID())
		if unreadable(err, m.Process) {
			return m.readyBlind(ctx, report)
		}
		if hasNew(last, beats) || hasNew(beats, last) {
			since = time.Now()
		}
		last = beats
		now := count(beats)
		if now != told {
			told = now
			report(now)
		}
		quiet := settled
		if now.All < hint {
			quiet = settledBelow
		}
		if now.All > 0 && now.Ready == now.All && time.Since(since) >= quiet {
			m.dir, m.interpreter = startDir(m.PID()), interpreter(m.PID())
			return nil
		}
		if err := pause(ctx, m.Process); err != nil {
			return err
		}
	}
}

// hasNew says whether now has a worker that before has not.
func hasNew(before, now []heartbeat) bool {
	return slices.ContainsFunc(now, func(b heartbeat) bool { return !has(before, b.inode) })
}

func has(beats []heartbeat, inode uint64) bool {
	return slices.ContainsFunc(beats, func(b heartbeat) bool { return b.inode == inode })
}

func count(beats []heartbeat) Workers {
	w := Workers{All: len(beats)}
	for _, b := range beats {
		if b.beaten {
			w.Ready++
		}
	}
	return w
}

// readyBlind is Ready without heartbeats: the master has lived, with
// workers, for BlindFor.
func (m *Master) readyBlind(ctx context.Context, report func(Workers)) error {
	var told Workers
	since := time.Now()
	for {
		m.Processes()
		m.ready = reaper.Children(m.PID())
		now := Workers{All: len(m.ready), Blind: true}
		if now.All == 0 {
			since = time.Now()
		}
		if now != told {
			told = now
			report(now)
		}
		if time.Since(since) >= BlindFor {
			m.interpreter = interpreter(m.PID())
			return nil
		}
		if err := pause(ctx, m.Process); err != nil {
			return err
		}
	}
}

// Soak watches the workers with which the master got ready until the time is
// over, and returns an error as soon as one of them is lost, also if that was
// before the call: ErrLost, an *ExitError or ctx's. The heartbeats do not tell:
// a worker that is replaced at once may get the same inode for its file.
func (m *Master) Soak(ctx context.Context, how time.Duration) error {
	over := time.Now().Add(how)
	for time.Now().Before(over) {
		m.Processes()
		for _, pid := range m.ready {
			if info, err := reaper.Stat(pid); err != nil || !info.Alive() || info.Parent != m.PID() {
				return m.lost(ctx)
			}
		}
		if err := pause(ctx, m.Process); err != nil {
			return err
		}
	}
	return nil
}

// lost says why a worker was lost: by itself, or since its master has ended,
// which makes it somebody else's child before the master's status is there.
func (m *Master) lost(ctx context.Context) error {
	for !alive(m.PID()) {
		if err := pause(ctx, m.Process); err != nil {
			return err
		}
	}
	return ErrLost
}

// Workers looks at the master's workers once.
func (m *Master) Workers() Workers {
	beats, err := heartbeats(m.PID())
	if unreadable(err, m.Process) {
		return Workers{All: len(reaper.Children(m.PID())), Blind: true}
	}
	return count(beats)
}
