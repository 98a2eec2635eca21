package watch

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/stablehand/stablehand/internal/deaf"
)

// Change is one difference between the content at rest and what was last
// reported.
type Change struct {
	// Paths are those of [Options.Paths] whose content changed, in their
	// order and as they were written there.
	Paths []string

	// Files are the files behind them that have changed, come or gone, sorted by
	// name; where they are many, not all of them, and More is true.
	Files []File
	More  bool

	// Content is what all of [Options.Paths] hold since then.
	Content Content

	// Since is when it was first seen to move.
	Since time.Time
}

// File is a file whose content has changed. It is a directory only where another name
// below the same one of [Options.Paths] leads to that, too: its files are told by one name.
type File struct {
	Name string // as one of [Options.Paths] leads to it, or matches it, and symlinks in that are not followed
	Gone bool   // there is none of that name any more
}

// Watcher watches until it is closed. The goroutine of its loop owns all state,
// and does nothing that may wait for a file system: each look has a goroutine of
// its own, and meanwhile the places.
type Watcher struct {
	options  Options
	entries  []*entry
	mounting *mounting
	places   *places // who takes the look has them while there is one
	pace     pace
	now      *look            // the look that is under way; nil: none
	check    time.Time        // when to see whether it gets an answer
	over     chan *look       // looks that are; has room for all that there can be
	last     *look            // the last look
	logged   map[string]fault // its faults, as last written to the log
	due      []string         // the entries whose content at rest waits to be reported
	since    time.Time        // when they began to move
	changed  changed          // since the last report
	first    Content
	begun    Begun
	resting  []*resting // who waits for the content to be at rest

	overflown bool // that events were lost has been said

	started chan struct{} // closed when New may return
	changes chan Change
	asked   chan *resting
	closed  <-chan struct{}
	close   context.CancelFunc

	looks, reads atomic.Int64  // looks taken and files read, for tests and benchmarks
	errors       atomic.Int64  // see Errors
	moves        atomic.Uint64 // see Moves
	unrest       atomic.Bool   // see Moving
	written      written       // see Written
}

// New takes the first look before it returns: any change after New has
// returned is reported. A path that does not exist is warned of, and seen when
// it appears.
//
// A file system that leaves one call unanswered for 2 s is warned of, too, and
// waited for no longer: New takes its look at the other paths, and returns then,
// or when another file system does not answer either. [Watcher.First] is the
// zero Content then, and what was not seen yet is looked at behind: since nobody
// knows what was read of it meanwhile, it is reported as a [Change] of those
// paths whose content is learned that late.
//
// An error means that the options are wrong, or that the context ended the
// first look, which is all that it is for; it waits for no file system.
func New(ctx context.Context, o Options) (*Watcher, error) {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	entries, err := parse(ctx, o)
	if err != nil {
		return nil, err
	}
	closing, close := context.WithCancel(context.Background())
	w := &Watcher{
		options: o,
		entries: entries,
		places:  newPlaces(o),
		pace:    pace{debounce: o.Debounce},
		over:    make(chan *look, len(entries)+1), // each that was given up has an entry wait for it
		last:    &look{sights: make([]sight, len(entries))},
		started: make(chan struct{}),
		changes: make(chan Change),
		asked:   make(chan *resting),
		closed:  closing.Done(),
		close:   close,
	}
	w.mounting = newMounting(closing)
	go w.loop(closing)
	select {
	case <-w.started:
	case <-ctx.Done():
	}
	if err := ctx.Err(); err != nil {
		w.Close()
		return nil, err
	}
	return w, nil
}

// Changes yields one Change each time the content at rest differs from what
// was last reported. A slow receiver loses nothing: changes that wait are
// merged into one, and what has been undone while it waited is not reported.
// The channel is closed after [Watcher.Close].
func (w *Watcher) Changes() <-chan Change { return w.changes }

// First is the content at the look that [New] took, or zero where it was given
// up.
func (w *Watcher) First() Content { return w.first }

// Begun is what the look that [New] took has found, as far as that came.
func (w *Watcher) Begun() Begun { return w.begun }

// Errors counts what could not be watched as it should since [New]: paths that
// were warned of, and events that were lost. It may be called from any
// goroutine.
func (w *Watcher) Errors() int64 { return w.errors.Load() }

// leaveAfter is how long Close waits for what may wait for a file system.
const leaveAfter = 100 * time.Millisecond

// Close ends the watch and returns when nothing of it runs any more, but within
// 100 ms: where a file system does not answer, a goroutine is left behind until
// it does, or until the process ends, and does nothing then. It may be called
// more than once.
func (w *Watcher) Close() error {
	w.close()
	for range w.changes { // until the loop closes it
	}
	return nil
}

func (w *Watcher) loop(ctx context.Context) {
	defer close(w.changes)
	defer w.leave()
	var look, poll, check alarm
	defer look.stop()
	defer poll.stop()
	defer check.stop()
	w.begin(ctx)
	for {
		look.at(w.nextLook())
		poll.at(w.nextPoll())
		check.at(w.check)
		var changes chan Change
		if len(w.due) > 0 && w.pace.next().IsZero() { // never while the content moves again
			changes = w.changes
		}
		select {
		case <-ctx.Done():
			return
		case changes <- w.change():
			w.reported()
		case ev := <-w.events():
			w.event(ev)
		case ev := <-w.mounts():
			w.event(ev)
		case err := <-w.lost():
			w.sayLost(err)
			w.places.lost()
			w.pace.event(time.Now())
		case <-poll.rings():
			w.places.distrust()
			w.pace.event(time.Now())
		case <-look.rings():
			w.begin(ctx)
		case r := <-w.questions():
			w.resting = append(w.resting, r)
			w.places.distrust()
			w.begin(ctx)
		case <-check.rings():
			w.stalled(ctx)
		case l := <-w.over:
			w.ended(ctx, l)
		}
	}
}

// event notes one that is for something that matters.
func (w *Watcher) event(ev fsnotify.Event) {
	if w.places.concerns(ev) {
		w.pace.event(time.Now())
	}
}

// begin has a look taken.
func (w *Watcher) begin(ctx context.Context) {
	if len(w.entries) == 0 {
		w.start() // nothing is watched, and inotify not needed
		return
	}
	l := newLook(ctx, w.places, w.entries, w.last)
	w.now, w.check = l, l.began.Add(silence)
	go func() {
		deaf.Call(l.take)
		w.over <- l
	}()
}

// ended takes note of what a look has seen.
func (w *Watcher) ended(ctx context.Context, l *look) {
	l.cancel()
	if l != w.now {
		w.answered(l)
		return
	}
	w.now, w.check = nil, time.Time{}
	if ctx.Err() != nil {
		return // what it saw is not the whole
	}
	moved := w.keep(l)
	select {
	case <-w.started:
		w.step(l.began, moved)
	default:
		w.firstLook(l)
	}
	w.answerResting()
	for i, e := range w.entries {
		if l.entries[i].hung != e.hung {
			w.pace.event(time.Now()) // it was left out, and has answered meanwhile
		}
	}
}

// keep keeps what a look has seen, and says whether anything is other than it
// was at the look before.
func (w *Watcher) keep(l *look) bool {
	moved := l.torn || !maps.Equal(w.last.faults, l.faults)
	for i, e := range w.entries {
		moved = moved || l.sights[i].digest != e.seen
		e.seen = l.sights[i].digest
	}
	if moved || len(l.written) > 0 {
		w.moves.Add(1)
	}
	w.written.keep(l)
	w.changed.add(l)
	w.last = l
	w.looks.Add(1)
	w.reads.Add(l.reads)
	return moved
}

// firstLook takes what the first look has seen for what everybody knows.
func (w *Watcher) firstLook(l *look) {
	now := time.Now()
	w.pace.looked(now, now, false) // as if it had cost nothing: only the first look reads everything
	w.rest()
	w.reported()
	w.begun = Begun{Files: l.files, Mounts: mountPoints(l.to), Kinds: l.kinds}
	if !slices.ContainsFunc(l.entries, func(e entry) bool { return e.hung != nil }) {
		w.first = w.content()
	}
	w.start()
}

// start lets New return.
func (w *Watcher) start() {
	select {
	case <-w.started:
	default:
		close(w.started)
	}
}

// step draws the conclusion from a look when the content is at rest.
func (w *Watcher) step(start time.Time, moved bool) {
	if w.pace.looked(start, time.Now(), moved) {
		w.rest()
		w.unrest.Store(len(w.due) > 0)
		return
	}
	w.unrest.Store(true)
	if start.Sub(w.pace.began) > restless {
		w.pace.began = start // and say it again after as long
		w.options.Log.Warn("watched content keeps changing: nothing is done before it has been quiet for the debounce time",
			"paths", w.moving(), "debounce", w.options.Debounce, "do", "ignore the names that keep changing, or watch less")
	}
}

// leave closes the places, after the look that is under way.
func (w *Watcher) leave() {
	limit := time.NewTimer(leaveAfter)
	defer limit.Stop()
	for w.now != nil {
		select {
		case l := <-w.over:
			if l == w.now {
				w.now = nil
			}
		case <-limit.C:
			return // it closes them itself
		}
	}
	closed := make(chan struct{})
	go func() {
		deaf.Call(w.places.close)
		close(closed)
	}()
	select {
	case <-closed:
	case <-limit.C:
	}
}

// nextLook says when to take a look; never while there is one.
func (w *Watcher) nextLook() time.Time {
	if w.now != nil {
		return time.Time{}
	}
	return w.pace.next()
}

// nextPoll says when to look without an event: never, if inotify serves every
// directory and the options don't ask for it.
func (w *Watcher) nextPoll() time.Time {
	if w.now != nil {
		return time.Time{}
	}
	every := w.options.Poll
	if w.places.blind() && (every == 0 || every > blindPoll) {
		every = max(blindPoll, w.pace.cost*thrift)
	}
	if every == 0 {
		return time.Time{}
	}
	return w.pace.ended.Add(every)
}

// events are those of the places, which wait while a look has them.
func (w *Watcher) events() <-chan fsnotify.Event {
	if w.now != nil {
		return nil
	}
	return w.places.events()
}

// mounts tells in the same way that something was mounted, or is not any more.
func (w *Watcher) mounts() <-chan fsnotify.Event {
	if w.now != nil {
		return nil
	}
	return w.mounting.events
}

// lost tells in the same way that events were lost.
func (w *Watcher) lost() <-chan error {
	if w.now != nil {
		return nil
	}
	return w.places.errors()
}

// sayLost says it the first time only.
func (w *Watcher) sayLost(err error) {
	w.errors.Add(1)
	if !w.overflown {
		w.overflown = true
		w.options.Log.Warn("events were lost: looking at everything again", "reason", err)
	}
}
