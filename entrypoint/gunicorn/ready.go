package gunicorn

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/stablehand/stablehand/internal/proc"
)

// A master forks its workers one after another, with up to 0.1 s between two
// (Arbiter.spawn_workers), and from outside nothing says how many there will
// be. So it counts as having them all when it has got or lost none for
// settled; for longer, settledBelow, while it has fewer than its predecessor.
// A worker's file comes first, then pre_fork, which may take long, then the
// worker: it has been got when both are there.
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
// Each change is told to report. The error is an *ExitError or ctx's. A look
// that fails is followed by another, and counts for nothing.
func (m *Master) Ready(ctx context.Context, hint int, report func(Workers)) error {
	var last []heartbeat
	var told Workers
	most := 0 // children at a time, so that what a hook runs now and then is no worker
	since := time.Now()
	for {
		_, _ = m.Processes() // for End, which tells of what could not be listed
		children, err := proc.Children(m.PID())
		beats, err2 := heartbeats(m.PID())
		if unreadable(err2, m.Process) {
			return m.readyBlind(ctx, report)
		}
		if err = errors.Join(err, err2); err == nil {
			if hasNew(last, beats) || hasNew(beats, last) || len(children) > most {
				since = time.Now()
			}
			most = max(most, len(children))
			m.ready, last = children, beats
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
				m.learnWhere(ctx)
				return nil
			}
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
		_, _ = m.Processes() // for End, which tells of what could not be listed
		if children, err := proc.Children(m.PID()); err == nil {
			m.ready = children
		}
		now := Workers{All: len(m.ready), Blind: true}
		if now.All == 0 {
			since = time.Now()
		}
		if now != told {
			told = now
			report(now)
		}
		if time.Since(since) >= BlindFor {
			m.learnWhere(ctx)
			return nil
		}
		if err := pause(ctx, m.Process); err != nil {
			return err
		}
	}
}

// Workers looks at the master's workers once. Of what cannot be read it says
// that there is nothing.
func (m *Master) Workers() Workers {
	beats, err := heartbeats(m.PID())
	if unreadable(err, m.Process) {
		children, _ := proc.Children(m.PID())
		return Workers{All: len(children), Blind: true}
	}
	return count(beats)
}
