package watch

import (
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// mounted warns of a path that is a mount point of its own, where what happens
// on the host can't be seen from here.
func (l *look) mounted(at node) {
	m, ok := l.mountTable().at[at.path]
	if !ok || !l.isMountRoot(at.path) {
		return
	}
	switch file := at.kind() == unix.S_IFREG; {
	case m.kubelet():
		l.fault(at.path, neverUpdated)
	case file && at.stat.Nlink == 0:
		l.fault(at.path, fault{"watched file is a mount of its own, and was replaced on the host: only a restart brings the new one",
			"restart the container, and mount the file's directory instead"})
	case file:
		l.fault(at.path, fault{"watched file is a mount of its own: only writes in place are seen, no file that replaces it",
			"mount its directory instead"})
		l.places.watchSelf(&at) // a write on the host is an event for the inode, not for the directory here
	case m.removed():
		l.fault(at.path, fault{"watched directory is a mount, and was removed on the host: only a restart brings the new one",
			"restart the container, and change what is in the directory instead"})
	}
}

var neverUpdated = fault{"watched path is a subPath mount, which the kubelet never updates: no change will be seen",
	"mount the whole volume instead"}

// mountedIn warns of what is mounted in a directory, and counts there.
func (l *look) mountedIn(dir node) {
	for _, point := range l.mountTable().in[dir.path] {
		if _, name := split(point); ignored(l.places.ignore, name) {
			continue
		}
		if at, err := l.lstat(point); err == nil {
			l.mounted(at)
		}
	}
}

// mountedAbove warns of a path in a directory that the kubelet never updates.
func (l *look) mountedAbove(path string) {
	for dir := path; dir != "/"; dir, _ = split(dir) {
		m, ok := l.mountTable().at[dir]
		if !ok {
			continue
		}
		if m.kubelet() && l.isMountRoot(dir) {
			l.fault(dir, neverUpdated)
		}
		return
	}
}

// isMountRoot says whether a path is a mount point, and not one that another
// mount hides. A kernel before 5.8 can't tell, and nothing is warned of.
func (l *look) isMountRoot(path string) bool {
	var stx unix.Statx_t
	err := l.ask(path, func() error {
		return unix.Statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT, 0, &stx)
	})
	return err == nil && stx.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0
}

// mountPoint returns below which mount point a path lies, going by its name
// alone.
func mountPoint(path string) string { return mountPointIn(mounts(), path) }

func mountPointIn(table []mount, path string) string {
	point := "/"
	for _, m := range table {
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

// mount is a line of the kernel's table of mounts (see proc_pid_mountinfo(5)).
type mount struct {
	id    string
	root  string // which directory or file of its file system is mounted
	point string // and where
}

// kubelet says whether it is a mount of what is in /..2024_05_01_12_00_00.123, a
// directory of AtomicWriter's own.
func (m mount) kubelet() bool { return strings.Contains(m.root, "/..2") }

// removed says whether what is mounted has no name any more.
func (m mount) removed() bool { return strings.HasSuffix(m.root, "//deleted") }

// mountTable is the table of mounts by path.
type mountTable struct {
	at map[string]mount    // by mount point: the one on top
	in map[string][]string // mount points, by the directory that they are in
}

// mountTable is the table as the look found it.
func (l *look) mountTable() *mountTable {
	if l.table != nil {
		return l.table
	}
	l.table = &mountTable{at: make(map[string]mount), in: make(map[string][]string)}
	for _, m := range mounts() {
		if _, again := l.table.at[m.point]; !again {
			dir, _ := split(m.point)
			l.table.in[dir] = append(l.table.in[dir], m.point)
		}
		l.table.at[m.point] = m // the last one is on top
	}
	return l.table
}

// unescape undoes what the kernel does to names in its table of mounts.
var unescape = strings.NewReplacer(`\134`, `\`, `\040`, " ", `\011`, "\t", `\012`, "\n", `\043`, "#")

// mounts is the kernel's table of mounts. It can be had without waiting for any
// file system. Without /proc it is empty.
func mounts() []mount {
	table, _ := os.ReadFile(mountInfo)
	var all []mount
	for line := range strings.Lines(string(table)) {
		if field := strings.Fields(line); len(field) > 4 {
			all = append(all, mount{field[0], unescape.Replace(field[3]), unescape.Replace(field[4])})
		}
	}
	return all
}

const mountInfo = "/proc/self/mountinfo"
