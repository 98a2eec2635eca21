package life

import (
	"strings"
	"time"
)

// A file that the application writes as it loads, or that gunicorn does, is a
// change that each new generation makes itself: each would bring up the next one.
// From outside nobody sees who has written it. What can be seen is that it changes
// with each generation: while it comes up, or, which is a weaker sign, right after.
// Its name may be new each time, as where a pid stands in it: then what recurs is
// that there is something new in its directory, which is a weaker sign, too.
// Somebody else's changes may fall together as well, so it is not held back for good:
// each handoff for it only waits longer than the one before. A change that is not of
// this kind, of another path or while no generation comes up, does not wait. Of these
// only the latter has the others wait less: what is not sure yet may be one more that
// each generation makes.

const (
	// always is how many generations in a row are taken for all, where something has
	// moved while each came up.
	always = 3

	// A change while a generation comes up, and one within afterReady of that, count as
	// much towards sure. The latter may be that of a thread, or of the first request, and
	// as well somebody's who has waited for the generation. One of a new name counts as
	// the latter: somebody who adds one file after another makes such changes, too.
	countsComing = 2
	countsAfter  = 1
	sure         = always * countsComing
	afterReady   = 5 * time.Second

	// firstPause is the first pause before such a handoff. As RETRY it doubles up to
	// maxRetry.
	firstPause = 10 * time.Second

	notToWrite = "if gunicorn or the application writes there as it loads, have it write elsewhere, or add the name to STABLEHAND_WATCH_IGNORE"
)

// recurring is what is known of changes that come with each generation.
type recurring struct {
	began time.Time // when the newest generation was begun
	ready time.Time // when it was ready, or given up; zero until then

	rows map[what]*row
	said map[string]bool // the paths that were warned of
}

// what is that which changes: a file, or some of what is watched where that is all
// that is known; or that something is new in a directory, or matches a glob that has
// not matched it before.
type what struct {
	path  string
	isNew bool
}

// row is what generations in a row have come with.
type row struct {
	counts int           // how much the changes count
	now    bool          // one has come with the newest generation
	pause  time.Duration // before the handoff for it; 0 until it is sure
}

// begins notes that a generation is begun. What the newest has not come with does
// not come with each.
func (r *recurring) begins(now time.Time) {
	rows := make(map[what]*row)
	for of, row := range r.rows {
		if row.now {
			row.now = false
			rows[of] = row
		}
	}
	r.rows, r.began, r.ready = rows, now, time.Time{}
}

// ends notes that the newest generation gets no more ready than it is.
func (r *recurring) ends() {
	if r.ready.IsZero() {
		r.ready = time.Now()
	}
}

// counts says how much it counts that something has happened at that time, for its
// having come of the newest generation.
func (r *recurring) counts(at time.Time) int {
	switch {
	case !at.After(r.began), !r.ready.IsZero() && at.After(r.ready.Add(afterReady)):
		return 0
	case !r.ready.IsZero() && at.After(r.ready):
		return countsAfter
	}
	return countsComing
}

// changed counts a change that has come with the newest generation, and returns the
// pause before the handoff for it; 0 if not each generation seems to come with all of
// it.
func (r *recurring) changed(all []what, counts int) (pause time.Duration) {
	if len(all) > 0 {
		pause = maxRetry
	}
	for _, of := range all {
		known := r.rows[of]
		if known == nil {
			known = new(row)
			r.rows[of] = known
		}
		known.count(of, counts)
		pause = min(pause, known.pause)
	}
	return pause
}

// count counts the first change that has come with the newest generation.
func (r *row) count(of what, counts int) {
	if r.now {
		return
	}
	r.now = true
	if of.isNew {
		counts = countsAfter
	}
	if r.counts += counts; r.counts >= sure {
		r.pause = min(max(2*r.pause, firstPause), maxRetry)
	}
}

// afresh notes a change that has not come with a generation: somebody is at work, and
// the handoffs for what each comes with begin to wait anew.
func (r *recurring) afresh() {
	for _, row := range r.rows {
		row.pause = 0
	}
}

// recur says how long a change is to wait since each generation comes with such a
// one; 0 if that is not so.
func (l *Life) recur(change Change) time.Duration {
	r := &l.recurs
	counts := r.counts(change.Since)
	if counts == 0 {
		r.afresh()
		return 0
	}
	pause := r.changed(l.written(change), counts)
	if pause > 0 {
		l.sayRecurs(change, pause)
	}
	return pause
}

// sayRecurs says once of which paths each generation comes with a change, and then
// how long the handoff waits.
func (l *Life) sayRecurs(change Change, pause time.Duration) {
	text := strings.Join(change.Paths, ",")
	if l.recurs.said[text] {
		l.log.Info("waiting before the handoff", "paths", text, "retry", pause)
		return
	}
	if l.recurs.said == nil {
		l.recurs.said = make(map[string]bool)
	}
	l.recurs.said[text] = true
	l.log.Warn("what is watched changes whenever a generation comes up: it is handed over ever more seldom",
		append(append([]any{"paths", text}, l.writtenLast(change.Since)...), "retry", pause, l.servesNow(), "do", notToWrite)...)
}

// written is what was written, as far as that is known: saves of one file after
// another are no change that each generation makes itself. Else it is where.
func (l *Life) written(change Change) (all []what) {
	for _, f := range l.world.Disk.Written(change.Since) {
		if f.Came.After(l.recurs.began) {
			all = append(all, what{f.In, true})
		} else {
			all = append(all, what{f.Path, false})
		}
	}
	if len(all) > 0 {
		return all
	}
	for _, path := range change.Paths {
		all = append(all, what{path, false})
	}
	return all
}

// namesSaid is how many files the log names.
const namesSaid = 3

// writtenLast is the field reason, as far as it is known what was written.
func (l *Life) writtenLast(since time.Time) []any {
	files := l.world.Disk.Written(since)
	if len(files) == 0 {
		return nil
	}
	var paths []string
	for _, f := range files[max(len(files)-namesSaid, 0):] {
		paths = append(paths, f.Path)
	}
	return []any{"reason", "written last: " + strings.Join(paths, ", ")}
}
