package watch

import (
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// maxWritten is how many files are remembered that were written last, and told
	// apart of one look.
	maxWritten = 100

	// maxComings is how many names are remembered that have come or gone.
	maxComings = 4096
)

// Written is a file that was seen to be written, be it with what it held.
type Written struct {
	Path string // with no symlinks

	// Came is when its name was first seen, or that of a directory that it is below,
	// and In the directory in which that was new, or the glob that it matched. They
	// are zero of what has been there since [New], though it was away meanwhile.
	Came time.Time
	In   string

	at time.Time // when the look began that saw it
}

// wrote is a file that a look has seen to be written.
type wrote struct {
	path string
	name string // the new name, or that of a directory that it is below; empty: none is new
	in   string // where that is new
}

// match is what a glob has matched.
type match struct{ glob, path string }

// wrote notes a file that was written. The same one may be noted twice.
func (l *look) wrote(path string) {
	n := len(l.written)
	if n == maxWritten || n > 0 && l.written[n-1].path == path {
		return
	}
	w := wrote{path: path, name: l.newName}
	if w.name != "" {
		w.in, _ = split(w.name)
	}
	if m := l.matched; m.path != "" && !l.first && !slices.Contains(l.was, m.path) {
		w.name, w.in = m.path, m.glob
	}
	l.written = append(l.written, w)
}

// leaves notes that a name is not there any more.
func (l *look) leaves(dir node, c child) {
	l.remember(c)
	l.lost(c.name, c.digest)
	l.leftName(join(dir.path, c.name))
}

func (l *look) leftName(path string) {
	if len(l.left) < maxNames {
		l.left = append(l.left, path)
	}
}

// leftMatches notes what no glob matches any more.
func (l *look) leftMatches() {
	if slices.Equal(l.was, l.to) {
		return
	}
	to := make(map[string]bool, len(l.to))
	for _, path := range l.to {
		to[path] = true
	}
	for _, path := range l.was {
		if !to[path] {
			l.leftName(path)
		}
	}
}

// written are the files that were seen to be written last, and are there.
type written struct {
	mu    sync.Mutex
	files []Written          // the newest last
	came  map[string]Written // by path: when names came that have come or gone since New
}

// keep keeps what a look has seen.
func (w *written) keep(l *look) {
	if len(l.written)+len(l.left) == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.came == nil || len(w.came) > maxComings {
		w.came = make(map[string]Written)
	}
	for _, path := range l.left {
		if _, known := w.came[path]; !known {
			w.came[path] = Written{}
		}
		w.forget(func(other string) bool { return other == path || strings.HasPrefix(other, path+"/") })
	}
	for _, f := range l.written {
		came, known := w.came[f.path]
		if !known && f.name != "" {
			if came, known = w.came[f.name]; !known {
				came = Written{Came: l.began, In: f.in}
			}
			w.came[f.path] = came
		}
		w.forget(func(other string) bool { return other == f.path })
		w.files = append(w.files, Written{f.path, came.Came, came.In, l.began})
	}
	w.files = w.files[max(len(w.files)-maxWritten, 0):]
}

func (w *written) forget(is func(path string) bool) {
	w.files = slices.DeleteFunc(w.files, func(f Written) bool { return is(f.Path) })
}

// Written lists files that were seen to be written since some time and are there,
// the newest last; where they are many, not all of them. It may be called from any
// goroutine.
func (w *Watcher) Written(since time.Time) []Written {
	w.written.mu.Lock()
	defer w.written.mu.Unlock()
	files := slices.Clone(w.written.files)
	return slices.DeleteFunc(files, func(f Written) bool { return f.at.Before(since) })
}
