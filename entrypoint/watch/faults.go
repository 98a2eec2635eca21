package watch

import (
	"errors"
	"maps"
	"slices"

	"golang.org/x/sys/unix"
)

// fault notes what is wrong with a path. Faults are no errors: they are written
// to the log once, and the rest is watched.
func (l *look) fault(path, text string) { l.faults[path] = text }

func unreadable(err error) string { return "can't be read: " + err.Error() }

// blindness says what an operator can do where inotify fails. Its errors share
// their numbers with others (inotify_init(2), inotify_add_watch(2)).
func blindness(err error) string {
	const then = "; until then it looks every few seconds"
	switch {
	case errors.Is(err, unix.ENOSPC):
		return "no watches are left for this user: raise fs.inotify.max_user_watches" + then
	case errors.Is(err, unix.EMFILE):
		return "no instances are left for this user: raise fs.inotify.max_user_instances" + then
	}
	return err.Error() + then
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
			w.options.Log.Warn(w.last.faults[path], "path", path)
		}
	}
	if news > maxFaults {
		w.options.Log.Warn("and more paths are at fault", "paths", news-maxFaults)
	}
	for path := range w.logged {
		if w.last.faults[path] == "" {
			w.options.Log.Info("all right again", "path", path)
		}
	}
	w.logged = w.last.faults
}
