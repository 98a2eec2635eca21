package watch

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stablehand/stablehand/internal/deaf"
)

// Options says what to watch, and how.
type Options struct {
	// Paths are files, directories and globs. A directory counts with all that
	// is below it. A glob is matched as by path.Match, part by part, and a part
	// that is ** stands for any number of directories; what appears later is
	// matched too. A relative path is taken from the working directory of the
	// moment of [New]. Empty ones are skipped; with none, nothing is reported.
	Paths []string

	// Ignore holds patterns of base names (see path.Match) that never matter
	// inside a watched directory. They don't hold for the names in Paths, nor
	// for what a symlink points to. Nil ignores nothing; see [DefaultIgnore].
	Ignore []string

	// LeaveOut holds paths that never matter inside a watched directory or as the
	// match of a glob: a directory, which is taken as it is written and followed, and
	// a pattern of base names in it; see [Literal]. They don't hold for the names in
	// Paths, nor for what a symlink points to.
	LeaveOut []string

	// Debounce is how long the content must have been quiet before a change
	// of it is reported. 0 reports every state that was seen.
	Debounce time.Duration

	// Poll makes it also look every so often, for file systems that send no
	// events. 0 looks after events only.
	Poll time.Duration

	// Kind says of what kind a file is by the one of Paths that leads to it and its
	// name, as [File.Name] is, or nothing: [Begun] has the first of each kind. It may
	// be nil.
	Kind func(of, name string) string

	// Log gets warnings about what can't be watched as it should. Nil is
	// [slog.Default].
	Log *slog.Logger
}

// entry is one of Options.Paths. A zero digest stands for no content.
type entry struct {
	path string // as written
	full string // absolute
	dir  string // the working directory, where the path is relative to it
	seen digest // at the last look
	rest digest // when the content was last at rest
	told digest // when it was last reported
	hung *look  // was given up at it, and waits for its file system still; nil: none
}

// parse checks the options and makes an entry of every path.
func parse(ctx context.Context, o Options) ([]*entry, error) {
	for _, p := range o.Ignore {
		if _, err := path.Match(p, ""); err != nil {
			return nil, fmt.Errorf("ignore pattern %q: %w", p, err)
		}
	}
	for _, p := range o.LeaveOut {
		if _, err := path.Match(path.Base(p), ""); err != nil {
			return nil, fmt.Errorf("path to leave out %q: %w", p, err)
		}
	}
	var entries []*entry
	for _, p := range o.Paths {
		if p == "" {
			continue
		}
		if _, err := path.Match(p, ""); err != nil {
			return nil, fmt.Errorf("path %q: %w (a backslash takes its meaning from a character)", p, err)
		}
		e := &entry{path: p, full: p}
		if !path.IsAbs(p) {
			named, err := workingDirectory(ctx)
			if err != nil {
				return nil, fmt.Errorf("find the directory that %q is relative to: %w", p, err)
			}
			dir := named
			if isGlob(p) {
				dir = literal.Replace(named)
			}
			e.dir = named
			e.full = dir + "/" + p // not cleaned: ".." after a symlink is the kernel's to resolve
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// workingDirectory is that of os.Getwd, which asks its file system whether $PWD
// is a name of it. Where this does not answer, it is the one name that the kernel
// knows without asking.
func workingDirectory(ctx context.Context) (dir string, err error) {
	asked := make(chan struct{})
	var named string
	var failed error
	go func() {
		defer close(asked)
		deaf.Call(func() { named, failed = os.Getwd() })
	}()
	limit := time.NewTimer(silence)
	defer limit.Stop()
	select {
	case <-asked:
		return named, failed
	case <-ctx.Done():
	case <-limit.C:
	}
	return unix.Getwd()
}
