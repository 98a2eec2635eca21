package entrypoint

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/stablehand/stablehand/entrypoint/life"
	"github.com/stablehand/stablehand/entrypoint/watch"
)

// sayWatched says in a line what is watched, or that nothing is, and warns of what is
// better not.
func sayWatched(c Config, begun watch.Begun, log *slog.Logger) {
	paths := slices.Concat(c.Watch, c.EnvFile)
	if len(paths) == 0 {
		log.Info("nothing is watched: reload, HUP and USR2 alone begin a handoff",
			"do", "set "+Prefix+"WATCH to the files, directories or globs whose changes are to begin one")
		return
	}
	log.Info("watching", "paths", strings.Join(paths, ","), "files", begun.Files, "mounts", strings.Join(begun.Mounts, ","))
	for _, kind := range slices.Sorted(maps.Keys(begun.Kinds)) {
		name := begun.Kinds[kind]
		what, ignore := c.ignorable(kind, name)
		log.Warn(what, "path", name,
			"do", "watch less, or set "+Prefix+"WATCH_IGNORE="+strings.Join(append(slices.Clone(c.WatchIgnore), ignore), ","))
	}
}

// What is seldom meant to begin a handoff.
const (
	watchedPackages    = "installed packages are watched: each one that is installed begins a handoff, while it is half installed, too"
	watchedEnvironment = "a virtual environment is watched: each package that is installed begins a handoff, while it is half installed, too"
	watchedDatabase    = "a database is watched: what the application writes begins a handoff"
	watchedLog         = "a log is watched: each line that is written begins a handoff"
)

// databases are how files of databases end that live in one file.
var databases = []string{".sqlite", ".sqlite3", ".db", ".db3", ".mdb", ".rdb"}

// seldomMeant says by its name whether a file is one of those that WATCH leads to without
// naming it: what an entry names is meant, and no WATCH_IGNORE holds for it.
func (c Config) seldomMeant(entry, name string) string {
	kind := kindOf(name)
	named := slices.ContainsFunc(c.Watch, func(entry string) bool { return path.Clean(entry) == name })
	if named || kind == kindOf(entry) || path.Base(name) == environmentFile && !isBelow(entry, path.Dir(name)) {
		return ""
	}
	return kind
}

// environmentFile is in each virtual environment, and nowhere else.
const environmentFile = "pyvenv.cfg"

// isBelow says whether a name is below what an entry of WATCH has before any glob.
func isBelow(entry, name string) bool {
	if i := strings.IndexAny(entry, `*?[\`); i >= 0 {
		entry = path.Dir(entry[:i] + "*")
	}
	entry = path.Clean(entry)
	if entry == "." {
		return name != "." && !path.IsAbs(name)
	}
	return strings.HasPrefix(name, strings.TrimSuffix(entry, "/")+"/")
}

// kindOf says by its name whether a file is one of those.
func kindOf(name string) string {
	base := path.Base(name)
	ext := path.Ext(strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(base, "-journal"), "-wal"), "-shm"))
	switch {
	case base == environmentFile, strings.Contains("/"+name+"/", "/site-packages/"):
		return watchedPackages
	case slices.Contains(databases, ext):
		return watchedDatabase
	case ext == ".log":
		return watchedLog
	}
	return ""
}

// ignorable says of a file of a kind what is to be told, and the name by which all such
// files are to be ignored: for packages that of their virtual environment, where they
// are in one, and it is below what is watched.
func (c Config) ignorable(kind, name string) (what, ignore string) {
	if kind != watchedPackages {
		ext, _, _ := strings.Cut(path.Ext(name), "-")
		return kind, "*" + ext + "*"
	}
	root := path.Dir(name)
	if lib, _, in := strings.Cut(name, "/site-packages/"); in {
		root = path.Dir(path.Dir(lib)) // lib is ROOT/lib/python3.12
	}
	if !seen(func() bool { return exists(path.Join(root, environmentFile)) }) {
		return kind, "site-packages"
	}
	if !slices.ContainsFunc(c.Watch, func(entry string) bool { return isBelow(entry, root) }) {
		return watchedEnvironment, "site-packages"
	}
	return watchedEnvironment, path.Base(root)
}

// shownFiles is how many files of a change are named.
const shownFiles = 10

// changed is a change as package life is told it.
func changed(c watch.Change) life.Change {
	var files []string
	for i, f := range c.Files {
		if i == shownFiles {
			more := fmt.Sprint(len(c.Files) - i)
			if c.More {
				more = "many"
			}
			files = append(files, "and "+more+" more")
			break
		}
		name := f.Name
		if f.Gone {
			name += " (gone)"
		}
		files = append(files, name)
	}
	return life.Change{Paths: c.Paths, Files: files, Content: life.Content(c.Content), Since: c.Since}
}

// watching is all that is known of what is watched.
type watching struct {
	*watch.Watcher
	*watch.Resolver
}

// firstLook begins to watch. It comes before gunicorn's own look, so that no
// change is missed, unless a file system does not answer. A stop ends it, and is
// still there for who reads the signals; nothing is watched then.
func firstLook(stop context.Context, c Config, command Command, log *slog.Logger) (w watching, stopped bool, err error) {
	long := time.AfterFunc(longLook, func() { log.Info("reading what is watched, before gunicorn starts") })
	defer long.Stop()
	o := c.WatchOptions(log)
	o.LeaveOut, o.Kind = slices.Concat(command.pidfiles(), outputs()), c.seldomMeant
	w, err = watchAll(stop, o)
	if !errors.Is(err, context.Canceled) {
		return w, false, err
	}
	w, err = watchAll(context.Background(), watch.Options{Log: log})
	return w, true, err
}

func watchAll(ctx context.Context, o watch.Options) (w watching, err error) {
	if w.Watcher, err = watch.New(ctx, o); err != nil {
		return w, err
	}
	w.Resolver, err = watch.NewResolver(ctx, o)
	return w, err
}

// outputs are the files that our own log and gunicorn's lines go to: what is said of a
// change is none.
func outputs() (patterns []string) {
	for _, fd := range []int{1, 2} {
		if name, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd)); err == nil && path.IsAbs(name) {
			patterns = append(patterns, watch.Literal(name))
		}
	}
	return patterns
}

// longLook is how long the first look may take without a word.
const longLook = time.Second
