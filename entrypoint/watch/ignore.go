package watch

import (
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// DefaultIgnore is the litter of editors and version control, and what Python
// compiles: nothing that a configuration consists of.
var DefaultIgnore = []string{
	"*~",          // backups: emacs, vim, nano, gedit
	"#*#",         // emacs, auto-save
	".#*",         // emacs, lock
	".*.sw?",      // vim, swap
	"4913",        // vim, its test whether it can write here
	"___jb_*___",  // JetBrains, safe write
	".goutput*",   // GNOME, temporary
	".nfs*",       // NFS, deleted but open
	".DS_Store",   // macOS
	".git",        // also a file, in a worktree
	".hg",         //
	".svn",        //
	".jj",         //
	"__pycache__", //
	"*.py[co]",    //
}

// matters says whether a name in a directory that is watched, or was matched by a
// glob there, counts.
func (l *look) matters(dir node, name string) bool {
	return !ignored(l.places.ignore, name) && !l.leftOut(dir, name)
}

// leftOut says whether it is one of [Options.LeaveOut]. A directory may have more
// than one path: it is known by its inode, which is asked for only where the name
// would be one of these.
func (l *look) leftOut(dir node, name string) bool {
	for _, p := range l.places.leaveOut {
		if ok, _ := path.Match(path.Base(p), name); !ok {
			continue
		}
		var of node
		err := l.ask(p, func() error { return unix.Stat(path.Dir(p), &of.stat) })
		if err == nil && of.inode() == dir.inode() {
			return true
		}
	}
	return false
}

// ignored says whether a name never matters inside a watched directory.
func ignored(patterns []string, name string) bool {
	if strings.HasPrefix(name, "..") {
		return true // ..data and ..2024_05_01_12_00_00.123: the kubelet's AtomicWriter
	}
	for _, p := range patterns {
		if ok, _ := path.Match(p, name); ok {
			return true
		}
	}
	return false
}
