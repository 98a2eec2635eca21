package proc

import (
	"bytes"
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Crowded is the error of a limit that leaves no room for as many processes as
// are to come.
type Crowded struct {
	More  int    // processes to come
	Limit string // its name, and whose it is
	Max   int    // its value
	There int    // how much of it is used
}

func (c *Crowded) Error() string {
	return fmt.Sprintf("no room for %d more processes: %s is %d, and %d are there", c.More, c.Limit, c.Max, c.There)
}

func crowded(more int, limit string, most, there int) error {
	if most-there >= more {
		return nil
	}
	return &Crowded{more, limit, most, there}
}

// Room returns a *Crowded error where a process may not fork as many more: by
// pids.max of its control group or one above it that can be seen, or by its
// RLIMIT_NPROC. What cannot be read is no obstacle, and no error: the kernel
// will have the last word.
func Room(pid, more int) error {
	for _, dir := range groupsOf(pid, "pids") {
		most, err := readNumber(dir + "/pids.max") // "max" is none, and the root has no limit
		there, err2 := readNumber(dir + "/pids.current")
		if err != nil || err2 != nil {
			continue
		}
		if err := crowded(more, "pids.max of "+dir, int(most), int(there)); err != nil {
			return err
		}
	}
	most, limited := userLimit(pid)
	if !limited {
		return nil
	}
	uid, err := realUser(pid)
	if err != nil {
		return nil
	}
	return crowded(more, fmt.Sprintf("RLIMIT_NPROC of process %d", pid), most, threadsOf(uid))
}

func readNumber(file string) (int64, error) {
	b, err := readFile(file)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(string(bytes.TrimSpace(b)), 10, 64)
}

// groupsOf lists the directories of the control groups by which a controller limits a
// process: its own, then those above it. There may be two hierarchies, where version 1 has
// the controller and version 2 is mounted, too.
func groupsOf(pid int, controller string) []string {
	groups, err := readFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	mounts, err2 := readFile("/proc/self/mountinfo")
	if err != nil || err2 != nil {
		return nil // see Room
	}
	var dirs []string
	for line := range strings.Lines(string(groups)) {
		// 8:pids:/docker/1234, or 0::/system.slice/app.service for version 2
		parts := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(parts) < 3 {
			continue
		}
		switch {
		case parts[0] == "0":
			dirs = append(dirs, groupDirs(string(mounts), "", parts[2])...)
		case slices.Contains(strings.Split(parts[1], ","), controller):
			dirs = append(dirs, groupDirs(string(mounts), controller, parts[2])...)
		}
	}
	return dirs
}

// groupDirs lists where a control group and those above it are mounted, as far
// up as the mount goes. The controller is that of a hierarchy of version 1; empty for
// version 2.
func groupDirs(mountinfo, controller, group string) []string {
	for line := range strings.Lines(mountinfo) {
		// 39 31 0:36 ROOT POINT rw,relatime shared:5 - TYPE SOURCE OPTIONS
		before, after, _ := strings.Cut(line, " - ")
		left, right := strings.Fields(before), strings.Fields(after)
		if len(left) < 5 || len(right) < 3 {
			continue
		}
		is := right[0] == "cgroup2"
		if controller != "" {
			is = right[0] == "cgroup" && slices.Contains(strings.Split(right[2], ","), controller)
		}
		if !is {
			continue
		}
		below, ok := belowRoot(unescape(left[3]), group)
		if !ok {
			continue
		}
		point := unescape(left[4])
		var dirs []string
		for dir := path.Join(point, below); ; dir = path.Dir(dir) {
			dirs = append(dirs, dir)
			if dir == point {
				return dirs
			}
		}
	}
	return nil
}

// belowRoot is a control group's path below the root of a mount. Both are seen
// from our own cgroup namespace, where what lies outside begins with "/..": a
// group that does, below a root that does not, cannot be seen. A root outside is
// above the namespace; by which names a group inside is reached from there nobody
// tells us, and only that root is looked at.
func belowRoot(root, group string) (below string, ok bool) {
	if below, ok = strings.CutPrefix(group, strings.TrimSuffix(root, "/")); ok && (below == "" || below[0] == '/') {
		return below, !strings.HasPrefix(below, "/..")
	}
	return "", strings.HasPrefix(root, "/..") && !strings.HasPrefix(group, "/..")
}

// unescape gives back the characters that mountinfo writes as octal numbers.
func unescape(field string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(field)
}

// userLimit is a process's RLIMIT_NPROC, unless there is none or the kernel
// does not hold it to it: root, and who has one of two capabilities.
func userLimit(pid int) (most int, limited bool) {
	const above = 1<<unix.CAP_SYS_RESOURCE | 1<<unix.CAP_SYS_ADMIN
	uid, err := realUser(pid)
	caps, err2 := Set(pid, "CapEff")
	limits, err3 := readFile(fmt.Sprintf("/proc/%d/limits", pid))
	if errors.Join(err, err2, err3) != nil || uid == "0" || caps&above != 0 {
		return 0, false
	}
	for line := range strings.Lines(string(limits)) {
		if values, ok := strings.CutPrefix(line, "Max processes"); ok {
			soft, _, _ := strings.Cut(strings.TrimSpace(values), " ")
			most, err := strconv.Atoi(soft)
			return most, err == nil // it may be "unlimited"
		}
	}
	return 0, false
}

func realUser(pid int) (string, error) {
	ids, err := Status(pid, "Uid")
	if err != nil {
		return "", err
	}
	real, _, _ := strings.Cut(ids, "\t")
	return real, nil
}

// threadsOf counts a user's threads, as far as they can be seen: what the kernel
// holds against RLIMIT_NPROC.
func threadsOf(uid string) int {
	names, err := readDir("/proc")
	if err != nil {
		return 0 // see Room
	}
	all := 0
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		its, err := realUser(pid)
		threads, err2 := Count(pid, "Threads")
		if err == nil && err2 == nil && its == uid {
			all += int(threads)
		}
	}
	return all
}
