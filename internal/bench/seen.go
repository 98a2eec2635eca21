package main

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/stablehand/stablehand/internal/load"
)

// watched is a site under load, and what its clients have told so far.
type watched struct {
	old     string // the version before the change
	changed time.Time
	runs    []*load.Run // on new connections, and on kept ones

	mu       sync.Mutex
	requests [2][]load.Request
	firstNew time.Time
	lastOld  time.Time
}

func (w *watched) add(i int, r load.Request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.requests[i] = append(w.requests[i], r)
	switch {
	case r.Err != nil:
	case r.Version == w.old:
		w.lastOld = latest(w.lastOld, r.Ended)
	case w.firstNew.IsZero():
		w.firstNew = r.Ended
	}
}

// over says whether the new version has answered, and the old one no more.
func (w *watched) over() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.firstNew.IsZero() && time.Since(latest(w.lastOld, w.firstNew)) > after
}

// stop ends the load, and says what the clients have seen.
func (w *watched) stop() *seen {
	for _, run := range w.runs {
		run.Stop()
	}
	s := &seen{New: failuresOf(w.requests[0]), Kept: failuresOf(w.requests[1])}
	all := slices.Concat(w.requests[0], w.requests[1])
	slices.SortFunc(all, func(a, b load.Request) int { return a.Ended.Compare(b.Ended) })
	s.answers(w, all)
	s.latencies(w, all)
	s.picture(w, all)
	return s
}

// seen is what the clients of a site have seen around a change. Times are in seconds, from
// the change on; -1 is never.
type seen struct {
	New, Kept      failures
	Silence        float64 // the longest time in which nobody was answered
	FirstNew       float64
	OnlyNew        float64 // from when on all answers were new
	LastAnswers    map[string]int
	Before, During percentiles
	From           float64 // when the first slot begins
	Slots          []slot
}

// failures are the requests of clients that failed, by what they have met.
type failures struct {
	Requests, Refused, Reset, Late, Other int
	Again                                 int      // sent again on a fresh connection, and answered
	Errors                                []string `json:",omitempty"` // the first of Other
}

func (f failures) failed() int { return f.Refused + f.Reset + f.Late + f.Other }

func (f *failures) add(g failures) {
	f.Requests += g.Requests
	f.Refused += g.Refused
	f.Reset += g.Reset
	f.Late += g.Late
	f.Other += g.Other
	f.Again += g.Again
}

func failuresOf(requests []load.Request) (f failures) {
	for _, r := range requests {
		f.count(r)
	}
	return f
}

func (f *failures) count(r load.Request) {
	f.Requests++
	var op *net.OpError
	switch {
	case r.Err == nil:
		f.Again += r.Retries
	case errors.Is(r.Err, context.DeadlineExceeded):
		f.Late++
	case errors.As(r.Err, &op) && op.Op == "dial": // a connection that is reset as it is made is none, too
		f.Refused++
	case errors.Is(r.Err, load.ErrReset):
		f.Reset++
	default:
		if f.Other++; len(f.Errors) < 3 {
			f.Errors = append(f.Errors, r.Err.Error())
		}
	}
}

// counter counts what many clients tell.
type counter struct {
	mu  sync.Mutex
	sum failures
}

func (c *counter) add(r load.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sum.count(r)
}

// answers fills in when there was which.
func (s *seen) answers(w *watched, all []load.Request) {
	s.FirstNew, s.OnlyNew = -1, -1
	since := func(t time.Time) float64 { return t.Sub(w.changed).Seconds() }
	end := all[len(all)-1].Ended
	last := w.changed
	s.LastAnswers = map[string]int{}
	for _, r := range all {
		if r.Err != nil {
			if end.Sub(r.Ended) < after {
				s.LastAnswers["failed"]++
			}
			continue
		}
		if r.Ended.Before(w.changed) {
			continue
		}
		s.Silence, last = max(s.Silence, r.Ended.Sub(last).Seconds()), r.Ended
		if end.Sub(r.Ended) < after {
			s.LastAnswers[r.Version]++
		}
		switch {
		case r.Version == w.old:
			s.OnlyNew = -1
			continue
		case s.FirstNew < 0:
			s.FirstNew = since(r.Ended)
		}
		if s.OnlyNew < 0 {
			s.OnlyNew = since(r.Ended)
		}
	}
	s.Silence = max(s.Silence, end.Sub(last).Seconds())
}

// percentiles are p50, p99 and p99.9 of how long answers took, in ms, counted from when
// a request was due.
type percentiles [3]float64

// latencies fills in those of the time before the change, and from then on until all
// answers are new.
func (s *seen) latencies(w *watched, all []load.Request) {
	var waits [2][]time.Duration
	for _, r := range all {
		at := r.Began.Sub(w.changed).Seconds()
		switch {
		case r.Err != nil:
		case at < 0 && r.Ended.Before(w.changed):
			waits[0] = append(waits[0], r.Ended.Sub(r.Began))
		case at >= 0 && (s.OnlyNew < 0 || at < s.OnlyNew):
			waits[1] = append(waits[1], r.Ended.Sub(r.Began))
		}
	}
	s.Before, s.During = percentilesOf(waits[0]), percentilesOf(waits[1])
}

func percentilesOf(waits []time.Duration) (p percentiles) {
	slices.Sort(waits)
	for i, share := range []float64{0.5, 0.99, 0.999} {
		if len(waits) > 0 {
			p[i] = float64(waits[min(int(share*float64(len(waits))), len(waits)-1)].Microseconds()) / 1000
		}
	}
	return p
}

// slot is a piece of time of a picture.
type slot struct {
	Old, New, Failed int     // answers, and failures, that came in it
	Worst            float64 // of the requests that were due in it, the longest wait, in ms
}

// slotLength is how long each is.
const slotLength = 250 * time.Millisecond

// picture fills in the slots.
func (s *seen) picture(w *watched, all []load.Request) {
	first := slices.MinFunc(all, func(a, b load.Request) int { return a.Began.Compare(b.Began) }).Began
	whole := w.changed.Sub(first) / slotLength * slotLength // so that one begins at the change
	start := w.changed.Add(-whole)
	s.From = -whole.Seconds()
	s.Slots = make([]slot, int(all[len(all)-1].Ended.Sub(start)/slotLength)+1)
	for _, r := range all {
		if r.Began.Before(start) {
			continue
		}
		due, came := &s.Slots[r.Began.Sub(start)/slotLength], &s.Slots[r.Ended.Sub(start)/slotLength]
		due.Worst = max(due.Worst, float64(r.Ended.Sub(r.Began).Microseconds())/1000)
		switch {
		case r.Err != nil:
			came.Failed++
		case r.Version == w.old:
			came.Old++
		default:
			came.New++
		}
	}
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
