package watch

import (
	"context"
	"crypto/sha256"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"
)

// Change is one difference between the content at rest and what was last
// reported.
type Change struct {
	// Paths are those of [Options.Paths] whose content changed, in their
	// order and as they were written there.
	Paths []string

	// Content is what all of [Options.Paths] hold since then.
	Content Content
}

// Content stands for the content of all paths together: the same for the same
// content, however it got there. Its zero value stands for none that was ever
// seen.
type Content [sha256.Size]byte

// Watcher watches until it is closed. Its goroutine owns all state.
type Watcher struct {
	options Options
	entries []*entry
	places  *places
	pace    pace
	last    *look            // the last look
	logged  map[string]fault // its faults, as last written to the log
	due     []string         // the entries whose content at rest waits to be reported
	first   Content

	changes chan Change
	close   context.CancelFunc

	looks, reads atomic.Int64 // looks taken and files read, for tests and benchmarks
	errors       atomic.Int64 // see Errors
}

// New takes the first look before it returns: any change after New has
// returned is reported. A path that does not exist is warned of, and seen when
// it appears. An error means that the options are wrong, or that the context
// ended the first look, which is all that it is for.
func New(ctx context.Context, o Options) (*Watcher, error) {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	entries, err := parse(o)
	if err != nil {
		return nil, err
	}
	closing, close := context.WithCancel(context.Background())
	w := &Watcher{
		options: o,
		entries: entries,
		places:  newPlaces(o.Ignore, o.Log),
		pace:    pace{debounce: o.Debounce},
		last:    new(look),
		changes: make(chan Change),
		close:   close,
	}
	w.look(ctx)
	if err := ctx.Err(); err != nil {
		close()
		w.places.close()
		return nil, err
	}
	now := time.Now()
	w.pace.looked(now, now, false) // as if it had cost nothing: only the first look reads everything
	w.rest()
	w.reported()
	w.first = w.content()
	go w.loop(closing)
	return w, nil
}

// Changes yields one Change each time the content at rest differs from what
// was last reported. A slow receiver loses nothing: changes that wait are
// merged into one, and what has been undone while it waited is not reported.
// The channel is closed after [Watcher.Close].
func (w *Watcher) Changes() <-chan Change { return w.changes }

// First is the content at the look that [New] took.
func (w *Watcher) First() Content { return w.first }

// Errors counts what could not be watched as it should since [New]: paths that
// were warned of, and events that were lost. It may be called from any
// goroutine.
func (w *Watcher) Errors() int64 { return w.errors.Load() }

// Close ends the watch and returns when nothing of it runs any more. It may be
// called more than once.
func (w *Watcher) Close() error {
	w.close()
	for range w.changes { // until the loop closes it
	}
	return nil
}

func (w *Watcher) loop(ctx context.Context) {
	defer close(w.changes)
	defer w.places.close()
	var look, poll alarm
	defer look.stop()
	defer poll.stop()
	for {
		look.at(w.pace.next())
		poll.at(w.nextPoll())
		var changes chan Change
		if len(w.due) > 0 && w.pace.next().IsZero() { // never while the content moves again
			changes = w.changes
		}
		select {
		case <-ctx.Done():
			return
		case changes <- Change{Paths: w.due, Content: w.content()}:
			w.reported()
		case ev := <-w.places.events():
			if w.places.concerns(ev) {
				w.pace.event(time.Now())
			}
		case err := <-w.places.errors():
			w.errors.Add(1)
			w.places.lost(err)
			w.pace.event(time.Now())
		case <-poll.rings():
			w.places.distrust()
			w.pace.event(time.Now())
		case <-look.rings():
			w.step(ctx)
		}
	}
}

// step takes a look, and draws the conclusion when the content is at rest.
func (w *Watcher) step(ctx context.Context) {
	start := time.Now()
	moved := w.look(ctx)
	if ctx.Err() != nil {
		return // what it saw is not the whole
	}
	if w.pace.looked(start, time.Now(), moved) {
		w.rest()
		return
	}
	if start.Sub(w.pace.began) > restless {
		w.pace.began = start // and say it again after as long
		w.options.Log.Warn("watched content keeps changing: nothing is done before it has been quiet for the debounce time",
			"paths", w.moving(), "debounce", w.options.Debounce, "do", "ignore the names that keep changing, or watch less")
	}
}

// moving lists the entries that are not as they were when last at rest.
func (w *Watcher) moving() string {
	var paths []string
	for _, e := range w.entries {
		if e.seen != e.rest {
			paths = append(paths, e.path)
		}
	}
	return strings.Join(paths, ",")
}

// rest takes what was seen for the content at rest.
func (w *Watcher) rest() {
	w.due = nil
	for _, e := range w.entries {
		e.rest = e.seen
		if e.rest != e.told {
			w.due = append(w.due, e.path)
		}
	}
	w.logFaults()
}

// content is that at rest.
func (w *Watcher) content() Content {
	sum := sha256.New()
	for _, e := range w.entries {
		sum.Write(e.rest[:])
	}
	return Content(sum.Sum(nil))
}

func (w *Watcher) reported() {
	w.due = nil
	for _, e := range w.entries {
		e.told = e.rest
	}
}

// nextPoll says when to look without an event: never, if inotify serves every
// directory and the options don't ask for it.
func (w *Watcher) nextPoll() time.Time {
	every := w.options.Poll
	if w.places.blind() && (every == 0 || every > blindPoll) {
		every = max(blindPoll, w.pace.cost*thrift)
	}
	if every == 0 {
		return time.Time{}
	}
	return w.pace.ended.Add(every)
}
