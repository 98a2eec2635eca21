package watch

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"

	"golang.org/x/sys/unix"
)

// fault is what is wrong with a path, and what to do about it, if anything.
type fault struct{ text, do string }

func (f fault) String() string {
	if f.do == "" {
		return f.text
	}
	return f.text + ": " + f.do
}

// fault notes what is wrong with a path. Faults are no errors: they are written
// to the log once, and the rest is watched.
func (l *look) fault(path string, f fault) {
	if l.faults == nil {
		l.faults = make(map[string]fault)
	}
	l.faults[path] = f
}

// withFault is a copy of some faults with one more.
func withFault(faults map[string]fault, path string, f fault) map[string]fault {
	all := map[string]fault{}
	maps.Copy(all, faults)
	all[path] = f
	return all
}

// unreadable is the fault of a path that err, which may name it too, keeps from
// us.
func unreadable(err error) fault {
	if named := (*fs.PathError)(nil); errors.As(err, &named) {
		err = named.Err
	}
	return fault{fmt.Sprintf("watched path can't be read (%v): until it can, it counts as it was", err),
		"let stablehand's user read it"}
}

// blindness says what an operator can do where inotify fails. Its errors share
// their numbers with others (inotify_init(2), inotify_add_watch(2)).
func blindness(err error) fault {
	const then = ": until there are, it looks every few seconds"
	switch {
	case errors.Is(err, unix.ENOSPC):
		return fault{"no inotify watches are left for this user" + then, "raise fs.inotify.max_user_watches on the host"}
	case errors.Is(err, unix.EMFILE):
		return fault{"no inotify instances are left for this user" + then, "raise fs.inotify.max_user_instances on the host"}
	}
	return fault{fmt.Sprintf("inotify fails (%v): it looks every few seconds instead", err), ""}
}

// maxFaults is how many faults are logged one by one: with a directory of
// files that can't be read, the first few say enough.
const maxFaults = 10

// logFaults writes down what is wrong now and was not when this was last
// called.
func (w *Watcher) logFaults() {
	news := 0
	for _, path := range slices.Sorted(maps.Keys(w.last.faults)) {
		if w.logged[path] == w.last.faults[path] {
			continue
		}
		w.errors.Add(1)
		if news++; news <= maxFaults {
			attrs := []any{"path", path}
			if do := w.last.faults[path].do; do != "" {
				attrs = append(attrs, "do", do)
			}
			w.options.Log.Warn(w.last.faults[path].text, attrs...)
		}
	}
	if news > maxFaults {
		w.options.Log.Warn("more watched paths have such faults", "count", news-maxFaults)
	}
	for path := range w.logged {
		if w.last.faults[path] == (fault{}) {
			w.options.Log.Info("all right again", "path", path)
		}
	}
	w.logged = w.last.faults
}
