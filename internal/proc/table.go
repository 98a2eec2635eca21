package proc

import (
	"fmt"
	"strconv"
	"strings"
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
	for _, table := range tables {
		b, err := readFile(fmt.Sprintf("/proc/%d/net/%s", pid, table.name))
		err = because(pid, "list the sockets of", err)
		if gone(err) {
			continue // without IPv6, say, there is no such table
		}
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(string(b)) {
			fields := strings.Fields(line)
			if len(fields) <= table.inode || fields[table.column] != table.listens {
				continue
			}
			if target := "socket:[" + fields[table.inode] + "]"; has[target] {
				targets = append(targets, target)
			}
		}
	}
	return targets, nil
}

// tables are where the kernel lists sockets that may listen: which column says so,
// by which value, and which has the inode. See proc_pid_net(5): st of TCP is
// TCP_LISTEN, Flags of unix sockets have SO_ACCEPTCON.
var tables = []struct {
	name    string
	column  int
	listens string
	inode   int
}{
	{"tcp", 3, "0A", 9},
	{"tcp6", 3, "0A", 9},
	{"unix", 3, "00010000", 6},
}
