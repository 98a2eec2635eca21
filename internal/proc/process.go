package proc

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"sort"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Info is what the process table says of a process to everyone.
type Info struct {
	PID     int
	Parent  int
	Group   int    // its process group
	State   byte   // R, S, D, T, Z … as in proc(5)
	Exiting bool   // it has begun to end, and its files are kept from all but root
	Started uint64 // clock ticks after boot; with PID it names one process for ever
}

// exiting is PF_EXITING of the kernel's include/linux/sched.h.
const exiting = 0x4

// Alive says whether the process still runs, stopped or not.
func (i Info) Alive() bool { return i.State != 'Z' && i.State != 'X' }

// Stat reads /proc/PID/stat.
func Stat(pid int) (Info, error) {
	fields, err := stat(pid)
	if err != nil {
		return Info{}, err
	}
	parent, err := strconv.Atoi(fields[4-3])
	group, err4 := strconv.Atoi(fields[5-3])
	flags, err2 := strconv.ParseUint(fields[9-3], 10, 64)
	started, err3 := strconv.ParseUint(fields[22-3], 10, 64)
	if err := errors.Join(err, err2, err3, err4); err != nil {
		return Info{}, fmt.Errorf("look at process %d: %w", pid, err)
	}
	return Info{PID: pid, State: fields[0][0], Exiting: flags&exiting != 0, Parent: parent, Group: group, Started: started}, nil
}

// stat is the fields of /proc/PID/stat from the third on, the state: they count from 1
// in proc(5).
func stat(pid int) ([]string, error) {
	b, err := readFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil, because(pid, "look at", err)
	}
	// The name stands in parentheses and may contain any of these itself.
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(fields) < 20 {
		return nil, fmt.Errorf("look at process %d: cannot read %q", pid, b)
	}
	return fields, nil
}

// ZombieStatus is how a process ended that is dead and that nobody has waited for
// yet, as wait(2) will tell it; ok says whether the table tells it to us. It shows a
// 0 to whom it is kept from, too. So an exit code 0 is only believed where another
// field that is kept from the same ones (wchan, of a process that does not run; from
// Linux 5.16 on) is not 0.
func ZombieStatus(pid int) (status unix.WaitStatus, ok bool) {
	fields, err := stat(pid)
	if err != nil || len(fields) <= 52-3 || fields[0] != "Z" {
		return 0, false
	}
	code, err := strconv.ParseUint(fields[52-3], 10, 32)
	return unix.WaitStatus(code), err == nil && (code != 0 || fields[35-3] != "0")
}

// Alive says whether a process runs. One of which that cannot be said, for any
// error but that it is gone, counts as alive.
func Alive(pid int) bool {
	info, err := Stat(pid)
	return !gone(err) && (err != nil || info.Alive())
}

// Cmdline is a process's command line, empty for a zombie, or one that is not
// through its exec.
func Cmdline(pid int) ([]string, error) {
	b, err := readFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil || len(b) == 0 {
		return nil, because(pid, "read the command line of", err)
	}
	return strings.Split(strings.TrimRight(string(b), "\x00"), "\x00"), nil
}

// Environ reads one variable of the environment that a process was started
// with, empty if it was not there: a process that changes its environment later
// does not show it. Where we may not read it, the error is fs.ErrPermission.
func Environ(pid int, name string) (value string, err error) {
	b, err := readFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil {
		return "", because(pid, "read the environment of", err)
	}
	for entry := range bytes.SplitSeq(b, []byte{0}) {
		if key, value, ok := strings.Cut(string(entry), "="); ok && key == name {
			return value, nil
		}
	}
	return "", nil
}

// Status reads a field of /proc/PID/status, which everyone may read.
func Status(pid int, field string) (string, error) {
	b, err := readFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return "", because(pid, "read the status of", err)
	}
	for line := range strings.Lines(string(b)) {
		if value, ok := strings.CutPrefix(line, field+":"); ok {
			return strings.TrimSpace(value), nil
		}
	}
	return "", fmt.Errorf("/proc/%d/status has no %s", pid, field)
}

// Count is a field of /proc/PID/status that is a decimal number.
func Count(pid int, field string) (uint64, error) {
	value, err := Status(pid, field)
	if err != nil {
		return 0, err
	}
	return strconv.ParseUint(value, 10, 64)
}

// Set is a field of /proc/PID/status that is a set of signals or capabilities.
func Set(pid int, field string) (uint64, error) {
	value, err := Status(pid, field)
	if err != nil {
		return 0, err
	}
	return strconv.ParseUint(value, 16, 64)
}

// Catches says whether a process has installed a handler for sig.
func Catches(pid int, sig unix.Signal) (bool, error) {
	caught, err := Set(pid, "SigCgt")
	return caught&(1<<(sig-1)) != 0, err
}

// Dir is the path of a process's working directory, which ends in " (deleted)"
// where it has been removed.
func Dir(pid int) (string, error) {
	dir, err := os.Readlink(DirLink(pid))
	return dir, because(pid, "read the working directory of", err)
}

// DirLink leads to a process's working directory itself, whatever its path is.
func DirLink(pid int) string { return fmt.Sprintf("/proc/%d/cwd", pid) }

// Descriptor is one that a process has open.
type Descriptor struct {
	Link   string // leads to the file itself, whatever has become of its path
	Target string // its path, as proc(5) writes it
}

// Descriptors lists those of a process. One that is closed meanwhile is left
// out. Where we may not look, the error is fs.ErrPermission.
func Descriptors(pid int) ([]Descriptor, error) {
	path := fmt.Sprintf("/proc/%d/fd", pid)
	dir, err := open(path, unix.O_DIRECTORY)
	if err != nil {
		return nil, because(pid, "list the descriptors of", err)
	}
	defer held.close(dir)
	names, err := namesIn(dir)
	if err != nil {
		return nil, because(pid, "list the descriptors of", err)
	}
	list := make([]Descriptor, 0, len(names))
	target := make([]byte, unix.PathMax)
	for _, name := range names {
		n, err := again(func() (int, error) { return unix.Readlinkat(dir, name, target) }) // no walk to it from the root
		if err := because(pid, "look at a descriptor of", err); err != nil {
			if gone(err) {
				continue
			}
			return nil, err
		}
		list = append(list, Descriptor{path + "/" + name, string(target[:n])})
	}
	return list, nil
}

// Socket is the target of a descriptor of a socket.
func Socket(inode uint64) string { return fmt.Sprintf("socket:[%d]", inode) }

// Appended lists the paths of the files that a process has open for appending,
// and of those that it writes its output and its errors to, in the order of its
// descriptors: where its log may stand. Devices and what has been removed are left
// out. It asks no file system. Where we may not look, the error is fs.ErrPermission.
func Appended(pid int) (paths []string, err error) {
	descriptors, err := Descriptors(pid)
	if err != nil {
		return nil, err
	}
	sort.Slice(descriptors, func(i, j int) bool { return descriptors[i].Number() < descriptors[j].Number() })
	for _, d := range descriptors {
		file := strings.HasPrefix(d.Target, "/") && !strings.HasPrefix(d.Target, "/dev/") && !strings.HasSuffix(d.Target, " (deleted)")
		if !file || slices.Contains(paths, d.Target) {
			continue
		}
		flags, err := d.flags(pid)
		if err != nil {
			return paths, err
		}
		if flags&unix.O_APPEND != 0 || d.Number() <= 2 && flags&unix.O_ACCMODE != unix.O_RDONLY {
			paths = append(paths, d.Target)
		}
	}
	return paths, nil
}

// Number is the descriptor's own.
func (d Descriptor) Number() int {
	n, _ := strconv.Atoi(path.Base(d.Link)) // the kernel writes nothing else
	return n
}

// flags are those that a descriptor of a process was opened with; 0 where it has
// been closed meanwhile.
func (d Descriptor) flags(pid int) (uint64, error) {
	b, err := readFile(fmt.Sprintf("/proc/%d/fdinfo/%d", pid, d.Number()))
	if err := because(pid, "look at a descriptor of", err); err != nil {
		if gone(err) {
			return 0, nil
		}
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if value, ok := strings.CutPrefix(line, "flags:"); ok {
			return strconv.ParseUint(strings.TrimSpace(value), 8, 64)
		}
	}
	return 0, fmt.Errorf("/proc/%d/fdinfo/%d has no flags", pid, d.Number())
}
