package watch

import (
	"context"
	"maps"
	"slices"
	"time"
)

// noAnswer is the fault of a path whose file system has one call wait.
var noAnswer = fault{"file system does not answer: until it does, what is watched there counts as it was",
	"see what is mounted there, and whether its other side is alive"}

// hang is where a look was given up.
type hang struct {
	of    int // the entry; or allEntries
	path  string
	known map[inode]record // what was known of files until then
}

// giveUp gives the look up if one and the same call has waited for longer than
// silence. Else it says when to see that again. While this lasts, the call that
// is waited for can't return, and nothing of the look changes.
func (l *look) giveUp(now time.Time) (h *hang, again time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.since.IsZero() {
		return nil, now.Add(silence)
	}
	if again = l.since.Add(silence); again.After(now) {
		return nil, again
	}
	l.cancel()
	h = &hang{l.of, l.path, make(map[inode]record)}
	maps.Copy(h.known, l.before)
	maps.Copy(h.known, l.records)
	for _, lists := range []map[inode]listing{l.listed, l.lists} {
		for _, list := range lists {
			for _, c := range list.children {
				h.known[c.record.inode] = c.record
			}
		}
	}
	return h, time.Time{}
}

// stalled gives up the look that is under way if it gets no answer, and has
// another one taken without the entries on that file system. The one that was
// given up is left behind with its places: whatever it holds up there, such as
// fsnotify itself, is not waited for.
func (w *Watcher) stalled(ctx context.Context) {
	h, again := w.now.giveUp(time.Now())
	if h == nil {
		w.check = again
		return
	}
	second := w.hung()
	mount := mountPoint(h.path)
	sights := slices.Clone(w.last.sights)
	for i, e := range w.entries {
		with := i == h.of || h.of == allEntries || mount != "/" && below(e.full, mount)
		if !with || e.hung != nil {
			continue
		}
		e.hung = w.now
		sights[i].faults = withFault(sights[i].faults, h.path, noAnswer)
	}
	w.sayHung(h.path)
	w.last = &look{records: h.known, sights: sights, faults: w.last.faults}
	w.places = newPlaces(w.options)
	if second {
		w.start() // who waits for New has waited for one already
	}
	w.begin(ctx)
}

// sayHung does not wait for the content to be at rest.
func (w *Watcher) sayHung(path string) {
	if w.logged[path] == noAnswer {
		return
	}
	w.errors.Add(1)
	w.options.Log.Warn(noAnswer.text, "path", path, "do", noAnswer.do)
	w.logged = withFault(w.logged, path, noAnswer)
}

// answered has everything looked at again when a look has ended that was given
// up.
func (w *Watcher) answered(l *look) {
	for _, e := range w.entries {
		if e.hung == l {
			e.hung = nil
		}
	}
	w.pace.event(time.Now())
}

// hung says whether there is an entry whose file system does not answer.
func (w *Watcher) hung() bool {
	return slices.ContainsFunc(w.entries, func(e *entry) bool { return e.hung != nil })
}
