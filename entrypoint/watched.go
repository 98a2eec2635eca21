package entrypoint

import (
	"fmt"
	"log/slog"
	"maps"
	"path"
	"slices"
	"strings"

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
		path := begun.Kinds[kind]
		log.Warn(kind, "path", path,
			"do", "watch less, or add "+ignorable(path)+" to "+Prefix+"WATCH_IGNORE, whose value replaces the default")
	}
}

// What is seldom meant to begin a handoff.
const (
	watchedEnvironment = "a virtual environment is watched: each package that is installed begins a handoff, while it is half installed, too"
	watchedDatabase    = "a database is watched: what the application writes begins a handoff"
	watchedLog         = "a log is watched: each line that is written begins a handoff"
)

// databases are how files of databases end that live in one file.
var databases = []string{".sqlite", ".sqlite3", ".db", ".db3", ".mdb", ".rdb"}

// kindOf says by its name whether a file is one of those.
func kindOf(name string) string {
	base := path.Base(name)
	ext := path.Ext(strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(base, "-journal"), "-wal"), "-shm"))
	switch {
	case base == "pyvenv.cfg", strings.Contains(name, "/site-packages/"):
		return watchedEnvironment
	case slices.Contains(databases, ext):
		return watchedDatabase
	case ext == ".log":
		return watchedLog
	}
	return ""
}

// ignorable is the name by which a file of those is to be ignored: that of the virtual
// environment, or that of all such files.
func ignorable(name string) string {
	if kindOf(name) != watchedEnvironment {
		ext, _, _ := strings.Cut(path.Ext(name), "-")
		return "*" + ext + "*"
	}
	root, _, _ := strings.Cut(path.Dir(name), "/lib/")
	return path.Base(root)
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
