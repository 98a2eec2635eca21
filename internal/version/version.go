// Package version tells what a binary was built from: which version, commit and
// date, and by which Go.
//
// The linker is told the first three by what builds it: the Makefile, the Dockerfile
// and the release. Where it was told nothing, they are what the Go command has recorded:
// all of them of a checkout with git, the version alone of a module.
package version

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"
)

// Set by -ldflags=-X. A commit that ends in -dirty had changes that were not in it; the
// date is the commit's, in RFC 3339.
var version, commit, date string

// Info is what a binary was built from. What is not known is empty, but for Version,
// which is devel then.
type Info struct {
	Version string // v1.2.3, or as git describe puts it
	Commit  string // in full, with -dirty behind it where files had been changed
	Date    string // of the commit, in RFC 3339
	Go      string // go1.26.0
	System  string // linux/amd64
}

// Read tells of this binary.
func Read() Info {
	built := recorded()
	return Info{
		Version: cmp.Or(version, built.Version, "devel"),
		Commit:  cmp.Or(commit, built.Commit),
		Date:    cmp.Or(date, built.Date),
		Go:      runtime.Version(),
		System:  runtime.GOOS + "/" + runtime.GOARCH,
	}
}

// recorded is what the Go command has recorded.
func recorded() (i Info) {
	build, ok := debug.ReadBuildInfo()
	if !ok {
		return i
	}
	if build.Main.Version != "(devel)" {
		i.Version = build.Main.Version
	}
	dirty := ""
	for _, s := range build.Settings {
		switch s.Key {
		case "vcs.revision":
			i.Commit = s.Value
		case "vcs.time":
			i.Date = s.Value
		case "vcs.modified":
			if s.Value == "true" {
				dirty = "-dirty"
			}
		}
	}
	i.Commit += dirty
	return i
}

// String tells all in one line.
func (i Info) String() string {
	return fmt.Sprintf("%s (commit %s, %s, %s %s)",
		i.Version, cmp.Or(i.Commit, "unknown: built without git"), cmp.Or(i.Date, "date unknown"), i.Go, i.System)
}
