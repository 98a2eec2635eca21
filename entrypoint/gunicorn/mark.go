package gunicorn

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/stablehand/stablehand/internal/proc"
)

// MarkVariable has what marks the processes of a generation that was begun afresh.
const MarkVariable = "_STABLEHAND_GENERATION"

// markFile is, before the mark, the name of a file in memory that they have open, too:
// setproctitle writes over the environment.
const markFile = MarkVariable + "="

// OpenMark opens a file that has nothing but a mark for its name. Who inherits it, by
// whatever number, is marked.
func OpenMark(mark string) (*os.File, error) {
	fd, err := unix.MemfdCreate(markFile+mark, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	return os.NewFile(uintptr(fd), markFile+mark), nil
}

// markOf is what marks a process; empty for none.
func markOf(pid int) (string, error) {
	if mark, err := proc.Environ(pid, MarkVariable); err != nil || mark != "" {
		return mark, err
	}
	descriptors, err := proc.Descriptors(pid)
	for _, d := range descriptors {
		if mark, is := strings.CutPrefix(d.Target, "/memfd:"+markFile); is { // see proc(5)
			return strings.TrimSuffix(mark, " (deleted)"), nil
		}
	}
	return "", err
}

// Begun says who has begun a generation afresh, for ever, as long as the machine runs:
// no two are the same.
type Begun struct {
	By        Kept   // the stablehand
	Number    int    // counted by it
	Namespace uint64 // that of its pid
	Command   string // see Identity.Command
	Addresses string // stands for where it is to listen; empty where an earlier version has begun it
}

// String is what marks the generation's processes.
func (b Begun) String() string {
	mark := fmt.Sprintf("%d.%d.%d.%d.%s", b.By.PID, b.By.Started, b.Number, b.Namespace, b.Command)
	if b.Addresses != "" {
		mark += "." + b.Addresses
	}
	return mark
}

// parseBegun reads a mark.
func parseBegun(mark string) (b Begun, ok bool) {
	_, err := fmt.Sscanf(mark, "%d.%d.%d.%d.%s", &b.By.PID, &b.By.Started, &b.Number, &b.Namespace, &b.Command)
	b.Command, b.Addresses, _ = strings.Cut(b.Command, ".")
	return b, err == nil && b.String() == mark
}

// PIDNamespace stands for that in which our pids are those of processes; 0 where that
// cannot be told.
func PIDNamespace() uint64 {
	var stat unix.Stat_t
	if err := unix.Stat("/proc/self/ns/pid", &stat); err != nil {
		return 0
	}
	return stat.Ino
}

// lives says whether a process does.
func (k Kept) lives() bool {
	info, err := proc.Stat(k.PID)
	return err == nil && info.Started == k.Started && info.Alive()
}
