package watch

import (
	"crypto/sha256"
	"strings"
)

// Content stands for the content of all paths together: the same for the same
// content, however it got there. Its zero value stands for none that was ever
// seen.
type Content [sha256.Size]byte

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
	if len(w.due) == 0 {
		w.since = w.pace.began
	}
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

// change is what is to be reported.
func (w *Watcher) change() Change {
	return Change{Paths: w.due, Files: w.changed.files(), More: w.changed.more, Content: w.content(), Since: w.since}
}

func (w *Watcher) reported() {
	w.due = nil
	w.changed = changed{}
	w.unrest.Store(false)
	for _, e := range w.entries {
		e.told = e.rest
	}
}
