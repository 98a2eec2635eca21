package life

import (
	"strings"
	"time"
)

// A file that the application writes as it loads, or that gunicorn does, is a
// change that each new generation makes itself: each would bring up the next one.
// From outside nobody sees who has written it. What can be seen is that it changes
// with each generation: while it comes up, or, which is a weaker sign, right after.
// Somebody else's changes may fall together as well, so it is not held back for good:
// each handoff for it only waits longer than the one before. A change that is not of
// this kind, of another path or while no generation comes up, does not wait.

const (
	// always is how many generations in a row are taken for all, where something has
	// moved while each came up.
	always = 3

	// A change while a generation comes up, and one within afterReady of that, count as
	// much towards sure. The latter may be that of a thread, or of the first request, and
	// as well somebody's who has waited for the generation.
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

	rows  map[string]int  // by what was written: how much the changes of it count that generations in a row have come with
	now   map[string]bool // that of which one has come with the newest
	pause time.Duration   // before the last handoff for them
	said  string          // the paths that were warned of
}

// begins notes that a generation is begun.
func (r *recurring) begins(now time.Time) {
	rows := make(map[string]int)
	for path := range r.now {
		rows[path] = r.rows[path]
	}
	r.rows, r.now = rows, make(map[string]bool)
	r.began, r.ready = now, time.Time{}
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

// changed counts a change that has come with the newest generation, and says
// whether each generation seems to come with such a one, and whether it is the first
// that has come with this one.
func (r *recurring) changed(paths []string, counts int) (each, first bool) {
	each = true
	for _, path := range paths {
		if !r.now[path] {
			first = true
			r.now[path] = true
			r.rows[path] += counts
		}
		each = each && r.rows[path] >= sure
	}
	return each, first
}

// recur says how long a change is to wait since each generation comes with such a
// one; 0 if that is not so.
func (l *Life) recur(change Change) time.Duration {
	r := &l.recurs
	counts := r.counts(change.Since)
	if counts == 0 {
		r.pause = 0
		return 0
	}
	each, first := r.changed(l.written(change), counts)
	if !each {
		r.pause = 0
		return 0
	}
	if first {
		r.pause = min(max(2*r.pause, firstPause), maxRetry)
	}
	l.sayRecurs(change)
	return r.pause
}

// sayRecurs says once of which paths each generation comes with a change, and then
// how long the handoff waits.
func (l *Life) sayRecurs(change Change) {
	r := &l.recurs
	text := strings.Join(change.Paths, ",")
	if text == r.said {
		l.log.Info("waiting before the handoff", "paths", text, "retry", r.pause)
		return
	}
	r.said = text
	l.log.Warn("what is watched changes whenever a generation comes up: it is handed over ever more seldom",
		append(append([]any{"paths", text}, l.writtenLast(change.Since)...), "retry", r.pause, l.servesNow(), "do", notToWrite)...)
}

// written is what was written last, as far as that is known: saves of one file after
// another are no change that each generation makes itself. Else it is where.
func (l *Life) written(change Change) []string {
	if files := l.world.Disk.Written(change.Since); len(files) > 0 {
		return files
	}
	return change.Paths
}

// writtenLast is the field reason, as far as it is known what was written.
func (l *Life) writtenLast(since time.Time) []any {
	files := l.world.Disk.Written(since)
	if len(files) == 0 {
		return nil
	}
	return []any{"reason", "written last: " + strings.Join(files, ", ")}
}
