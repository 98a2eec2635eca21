package proc

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/stablehand/stablehand/internal/sockdiag"
)

// All lists the pids of all processes that we may see.
func All() ([]int, error) {
	names, err := readDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("list the processes: %w", err)
	}
	var pids []int
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// User is the user in whose name a process acts: its effective user id.
func User(pid int) (int, error) {
	ids, err := Status(pid, "Uid")
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(ids) // real, effective, saved, of file systems
	if len(fields) < 2 {
		return 0, fmt.Errorf("/proc/%d/status: cannot read the users %q", pid, ids)
	}
	return strconv.Atoi(fields[1])
}

// Leader is the process of which a pid names a thread: itself, for a process.
func Leader(pid int) (int, error) {
	leader, err := Count(pid, "Tgid")
	return int(leader), err
}

// WaitsIn is the kernel's function in which a process waits, as far as it may be
// told: empty where it does not wait, or we may not look.
func WaitsIn(pid int) (string, error) {
	b, err := readFile(fmt.Sprintf("/proc/%d/wchan", pid))
	if err != nil {
		return "", because(pid, "look at what is waited for by", err)
	}
	return strings.TrimPrefix(string(b), "0"), nil
}

// Listens says whether a process has a socket open that listens. Where we may not
// look at its descriptors, the error is fs.ErrPermission.
func Listens(pid int) (bool, error) {
	sockets, err := Listening(pid)
	return len(sockets) > 0, err
}

// Listening is the sockets of a process that listen, as targets of a [Descriptor]:
// who has the same one open shows the same target.
func Listening(pid int) (targets []string, err error) {
	descriptors, err := Descriptors(pid)
	if err != nil {
		return nil, err
	}
	has := make(map[string]bool)
	for _, d := range descriptors {
		has[d.Target] = true
	}
	found, asked := tcpListening(pid)
	for _, table := range tables {
		if asked && table.tcp {
			continue
		}
		more, err := table.listening(pid)
		if err != nil {
			return nil, err
		}
		found = append(found, more...)
	}
	for _, inode := range found {
		if target := "socket:[" + inode + "]"; has[target] {
			targets = append(targets, target)
		}
	}
	return targets, nil
}

// tcpListening are the inodes of the TCP sockets that listen where a process is, as the
// kernel tells who asks in the same network namespace. Its lists, which hold each
// connection that has ended lately, too, have to do elsewhere.
func tcpListening(pid int) (inodes []string, asked bool) {
	ours, err := os.Readlink("/proc/self/ns/net")
	its, err2 := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil || err2 != nil || ours != its {
		return nil, false
	}
	list, err := sockdiag.ListTCP([]byte{unix.AF_INET, unix.AF_INET6}, 0, sockdiag.Listening)
	for _, one := range list {
		inodes = append(inodes, strconv.FormatUint(uint64(one.Inode), 10))
	}
	return inodes, err == nil
}

// tables are where the kernel lists sockets that may listen: which column says so,
// by which value, and which has the inode. See proc_pid_net(5): st of TCP is
// TCP_LISTEN, Flags of unix sockets have SO_ACCEPTCON.
var tables = []table{
	{"tcp", true, 3, "0A", 9},
	{"tcp6", true, 3, "0A", 9},
	{"unix", false, 3, "00010000", 6},
}

type table struct {
	name    string
	tcp     bool
	column  int
	listens string
	inode   int
}

// listening are the inodes of the sockets in the table that listen.
func (t table) listening(pid int) (inodes []string, err error) {
	b, err := readFile(fmt.Sprintf("/proc/%d/net/%s", pid, t.name))
	err = because(pid, "list the sockets of", err)
	if gone(err) {
		return nil, nil // without IPv6, say, there is no such table
	}
	for line := range strings.Lines(string(b)) {
		if fields := strings.Fields(line); len(fields) > t.inode && fields[t.column] == t.listens {
			inodes = append(inodes, fields[t.inode])
		}
	}
	return inodes, err
}
