package watch

import (
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// mounted warns of a path that is a mount point of its own, where what happens
// on the host can't be seen from here.
func (l *look) mounted(at node) {
	if !l.isMountRoot(at.path) {
		return
	}
	root := mountRoot(at.path)
	kubelet := strings.Contains(root, "/..2") // /..2024_05_01_12_00_00.123/key: AtomicWriter's own directory
	switch file := at.kind() == unix.S_IFREG; {
	case kubelet:
		l.fault(at.path, fault{"watched path is a subPath mount, which the kubelet never updates: no change will be seen",
			"mount the whole volume instead"})
	case file && at.stat.Nlink == 0:
		l.fault(at.path, fault{"watched file is a mount of its own, and was replaced on the host: only a restart brings the new one",
			"restart the container, and mount the file's directory instead"})
	case file:
		l.fault(at.path, fault{"watched file is a mount of its own: only writes in place are seen, no file that replaces it",
			"mount its directory instead"})
		l.places.watchSelf(&at) // a write on the host is an event for the inode, not for the directory here
	}
}

// isMountRoot says whether a path is a mount point. A kernel before 5.8 can't
// tell, and nothing is warned of.
func (l *look) isMountRoot(path string) bool {
	var stx unix.Statx_t
	err := l.ask(path, func() error {
		return unix.Statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT, 0, &stx)
	})
	return err == nil && stx.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0
}

// mountRoot returns which directory or file of its file system is mounted at a
// path, or "" (see proc_pid_mountinfo(5)).
func mountRoot(path string) string {
	root := ""
	for _, m := range mounts() {
		if m.point == path {
			root = m.root // the last one is on top
		}
	}
	return root
}

// mountPoint returns below which mount point a path lies, going by its name
// alone.
func mountPoint(path string) string {
	point := "/"
	for _, m := range mounts() {
		if len(m.point) > len(point) && below(path, m.point) {
			point = m.point
		}
	}
	return point
}

// below says whether a path is a directory, or names something below it.
func below(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, dir+"/")
}

type mount struct{ root, point string }

// unescape undoes what the kernel does to names in its table of mounts.
var unescape = strings.NewReplacer(`\134`, `\`, `\040`, " ", `\011`, "\t", `\012`, "\n", `\043`, "#")

// mounts is the kernel's table of mounts. It can be had without waiting for any
// file system. Without /proc it is empty.
func mounts() []mount {
	table, _ := os.ReadFile("/proc/self/mountinfo")
	var all []mount
	for line := range strings.Lines(string(table)) {
		if field := strings.Fields(line); len(field) > 4 {
			all = append(all, mount{unescape.Replace(field[3]), unescape.Replace(field[4])})
		}
	}
	return all
}
