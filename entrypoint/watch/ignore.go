package watch

import (
	"path"
	"strings"
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
