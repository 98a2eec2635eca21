package proc

import (
	"strconv"
	"strings"
)

// UnixSocket is one that listens, and has a name in the file system.
type UnixSocket struct {
	Inode uint64
	Path  string // as it was bound, which may be relative
}

// UnixListening lists them, in our network namespace.
func UnixListening() (sockets []UnixSocket, err error) {
	const accepts = "00010000" // SO_ACCEPTCON: see unix(7)
	b, err := readFile("/proc/net/unix")
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) == 8 && f[3] == accepts {
			inode, _ := strconv.ParseUint(f[6], 10, 64)
			sockets = append(sockets, UnixSocket{inode, f[7]})
		}
	}
	return sockets, err
}
