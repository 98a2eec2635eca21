package load

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// keptErrors is how many texts of failures a Result carries: the first ones,
// which tell what began.
const keptErrors = 5

// Result is what the clients saw.
type Result struct {
	Start, End time.Time

	Requests int // answered or failed; a retried one counts once
	Failed   int
	Resets   int // of those that failed: the connection was closed before the first byte of an answer
	Retries  int // sent again on a fresh connection, see Options.KeepAlive

	// Silence is the longest time in which nobody was answered, from Start or
	// the answer before to the next one or End; it began at SilenceAt.
	Silence   time.Duration
	SilenceAt time.Time

	Errors   []string  // of the first failures
	Versions []Version // in the order in which they were first answered
}

// Version is one text that was answered, and when.
type Version struct {
	Text        string
	First, Last time.Time
	Count       int
}

// Version returns what is known of an answer; its Count is 0 if there was none.
func (r Result) Version(text string) Version {
	i := slices.IndexFunc(r.Versions, func(v Version) bool { return v.Text == text })
	if i < 0 {
		return Version{Text: text}
	}
	return r.Versions[i]
}

// String is the result in one line, times counted from Start.
func (r Result) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "requests=%d failed=%d resets=%d retries=%d silence=%s at=%s", r.Requests, r.Failed, r.Resets, r.Retries,
		ms(r.Silence), ms(r.SilenceAt.Sub(r.Start)))
	for _, v := range r.Versions {
		fmt.Fprintf(&b, " %q=%d[%s..%s]", v.Text, v.Count, ms(v.First.Sub(r.Start)), ms(v.Last.Sub(r.Start)))
	}
	for _, e := range r.Errors {
		fmt.Fprintf(&b, " error=%q", e)
	}
	return b.String()
}

func ms(d time.Duration) time.Duration { return d.Round(time.Millisecond) }

// tally adds up what the clients report.
type tally struct {
	mu      sync.Mutex
	sum     Result
	last    time.Time     // of the last answer, or the start
	changed chan struct{} // closed, and replaced, when a version is new
}

func newTally(start time.Time) *tally {
	return &tally{sum: Result{Start: start, SilenceAt: start}, last: start, changed: make(chan struct{})}
}

// add counts one request that ended at a moment.
func (t *tally) add(at time.Time, version string, retries int, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sum.Requests++
	t.sum.Retries += retries
	if err != nil {
		t.sum.Failed++
		if errors.Is(err, ErrReset) {
			t.sum.Resets++
		}
		if len(t.sum.Errors) < keptErrors {
			t.sum.Errors = append(t.sum.Errors, fmt.Sprintf("%s: %v", ms(at.Sub(t.sum.Start)), err))
		}
		return
	}
	t.answered(at)
	t.count(at, version)
}

// answered ends a silence. Clients report in no exact order, so a moment may
// lie a little before the last one.
func (t *tally) answered(at time.Time) {
	if silence := at.Sub(t.last); silence > t.sum.Silence {
		t.sum.Silence, t.sum.SilenceAt = silence, t.last
	}
	if at.After(t.last) {
		t.last = at
	}
}

func (t *tally) count(at time.Time, version string) {
	i := slices.IndexFunc(t.sum.Versions, func(v Version) bool { return v.Text == version })
	if i < 0 {
		i = len(t.sum.Versions)
		t.sum.Versions = append(t.sum.Versions, Version{Text: version, First: at})
		close(t.changed)
		t.changed = make(chan struct{})
	}
	v := &t.sum.Versions[i]
	v.Last = at
	v.Count++
}

// has says whether a version was answered; if not, changed is closed when
// there is a new one.
func (t *tally) has(version string) (seen bool, changed <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.sum.Version(version).Count > 0, t.changed
}

// end closes the books: what follows the last answer was silence too.
func (t *tally) end(at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.answered(at)
	t.sum.End = at
}

// result is a copy of the sum. While the run goes on, the silence that lasts
// until now is part of it.
func (t *tally) result(now time.Time) Result {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.sum
	r.Errors = slices.Clone(r.Errors)
	r.Versions = slices.Clone(r.Versions)
	if !r.End.IsZero() {
		return r
	}
	r.End = now
	if silence := now.Sub(t.last); silence > r.Silence {
		r.Silence, r.SilenceAt = silence, t.last
	}
	return r
}
