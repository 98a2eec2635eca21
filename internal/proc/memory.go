package proc

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Headroom is how much memory a process, and what it starts, may still take.
type Headroom struct {
	Free  int64  // bytes, not below 0
	Limit string // what sets it, and where: such as "memory.max of /sys/fs/cgroup"; empty where nothing is known to
}

// Memory is the least that is left below a limit: of the control group of a process and
// those above it, as far as they can be seen, or of the machine. The error is that
// nothing of it could be read.
//
// Counted as free is what the kernel takes back before it kills anybody: what files are
// cached that were not used lately (inactive_file), as kubectl top and docker stats count it. What
// it might take back besides, it needs: without the files in use everything is slow.
// Swap is left out: a container seldom has any, and one that serves from there is as good
// as gone. Above memory.high nobody is killed, but everybody in the group waits at each
// step, who serves too: so it counts as a limit.
func Memory(pid int) (Headroom, error) {
	var least Headroom
	known := false
	take := func(free int64, limit string) {
		if free = max(free, 0); !known || free < least.Free {
			least, known = Headroom{free, limit}, true
		}
	}
	for _, dir := range groupsOf(pid, "memory") {
		if free, limit, ok := leftIn(dir); ok {
			take(free, limit+" of "+dir)
		}
	}
	available, err := available()
	if err == nil {
		take(available, "what the machine has available")
	}
	if !known {
		return Headroom{}, err
	}
	return least, nil
}

// unlimited is above any limit of version 1 that is one: there it is the largest number
// of whole pages.
const unlimited int64 = 1 << 60

// leftIn is how much is left below the limit of a control group, and which that is. It is
// not ok where there is none, as in a hierarchy's root, or where it may not be read.
func leftIn(dir string) (free int64, limit string, ok bool) {
	used, cached, limits := "memory.current", "inactive_file", []string{"memory.max", "memory.high"}
	usage, err := readNumber(path.Join(dir, used))
	if err != nil { // version 1
		used, cached, limits = "memory.usage_in_bytes", "total_inactive_file", []string{"memory.limit_in_bytes"}
		if usage, err = readNumber(path.Join(dir, used)); err != nil {
			return 0, "", false
		}
	}
	most := unlimited
	for _, name := range limits {
		if n, err := readNumber(path.Join(dir, name)); err == nil && n < most { // "max" is none
			most, limit = n, name
		}
	}
	if limit == "" {
		return 0, "", false
	}
	inactive, _ := statOf(dir, cached) // else nothing is known to be reclaimable
	return most - usage + inactive, limit, true
}

// statOf is a field of a control group's memory.stat, in bytes.
func statOf(dir, field string) (int64, error) {
	b, err := readFile(path.Join(dir, "memory.stat"))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if value, ok := strings.CutPrefix(line, field+" "); ok {
			return strconv.ParseInt(strings.TrimSpace(value), 10, 64)
		}
	}
	return 0, fmt.Errorf("%s/memory.stat has no %s", dir, field)
}

// available is what the machine has left without swapping, in bytes.
func available() (int64, error) {
	b, err := readFile("/proc/meminfo")
	if err != nil {
		return 0, fmt.Errorf("read what memory there is: %w", err)
	}
	return kilobytes(b, "MemAvailable")
}

// kilobytes is a field that the kernel tells in kB, in bytes; see proc(5).
func kilobytes(text []byte, field string) (int64, error) {
	for line := range bytes.Lines(text) {
		if value, ok := bytes.CutPrefix(line, []byte(field+":")); ok {
			n, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(string(value)), " kB"), 10, 64)
			return n << 10, err
		}
	}
	return 0, fmt.Errorf("there is no %s", field)
}

// Share is what of the memory in use is there for a process's sake: its PSS, in which
// a page that several have is shared out among them, in bytes. So that of a generation
// is the sum of its processes', also where they have been forked from one that has
// loaded everything. Page tables, sockets and whatever else the kernel has for them is not in it.
//
// Where it is kept from us, exact is false, and it is what the process does not share
// with a file: a page that several have counts for each. One that has gone has none. To
// tell it the kernel looks through all of a process's pages, while that can map none: it
// may take some ms for each GB, and for ever where the process hangs in a page fault.
func Share(pid int) (size int64, exact bool, err error) {
	b, err := readFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err == nil {
		size, err = kilobytes(b, "Pss")
		return size, true, err
	}
	if errors.Is(err, unix.ESRCH) { // a zombie has no memory
		return 0, true, nil
	}
	if !errors.Is(err, fs.ErrPermission) && !errors.Is(err, fs.ErrNotExist) {
		return 0, false, because(pid, "look at the memory of", err)
	}
	b, err = readFile(fmt.Sprintf("/proc/%d/status", pid))
	if gone(because(pid, "", err)) {
		return 0, true, nil
	}
	own, err2 := kilobytes(b, "RssAnon")
	shared, err3 := kilobytes(b, "RssShmem")
	if err == nil && err2 != nil && bytes.Contains(b, []byte("\nState:\tZ")) {
		return 0, true, nil
	}
	return own + shared, false, errors.Join(because(pid, "look at the memory of", err), err2, err3)
}
