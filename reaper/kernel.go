package reaper

import (
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// probe makes sure that the kernel has what this package and the process table
// stand on.
func probe() error {
	if _, err := os.Stat("/proc/thread-self/children"); err != nil {
		return fmt.Errorf("list children (/proc must be mounted, by a kernel with CONFIG_PROC_CHILDREN): %w", err)
	}
	fd, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		return fmt.Errorf("open a pidfd (Linux 5.4 or newer is needed): %w", err)
	}
	return unix.Close(fd)
}

// pidfdsTell says whether a pidfd that was opened in time tells how its process
// ended after somebody has reaped it: from Linux 6.15 on. The release is what
// decides, since 6.13 and 6.14 take the question and leave out the answer, as
// 6.15 does of a process that lives. The question is put all the same, for
// those who only call themselves 6.15, and sandboxes that refuse it.
func pidfdsTell() bool {
	var name unix.Utsname
	if unix.Uname(&name) != nil || !atLeast(unix.ByteSliceToString(name.Release[:]), 6, 15) {
		return false
	}
	fd, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		return false // probe says so
	}
	defer unix.Close(fd)
	return unix.IoctlPidfdInfo(fd, &unix.PidfdInfo{Mask: unix.PIDFD_INFO_EXIT}) == nil
}

// atLeast says whether a kernel's release, such as 6.1.0-13-amd64, is no older.
func atLeast(release string, major, minor int) bool {
	var x, y int
	if n, _ := fmt.Sscanf(release, "%d.%d", &x, &y); n != 2 {
		return false
	}
	return x > major || x == major && y >= minor
}

// fromPidfd is the kernel's own memory of a reaped process. It is unknown as
// long as nobody has reaped it.
func fromPidfd(pidfd int) Status {
	info := unix.PidfdInfo{Mask: unix.PIDFD_INFO_EXIT}
	if err := unix.IoctlPidfdInfo(pidfd, &info); err != nil || info.Mask&unix.PIDFD_INFO_EXIT == 0 {
		return Status{}
	}
	return exited(unix.WaitStatus(info.Exit_code))
}

// deadChild is the pid of some child of ours that has died and was not reaped
// yet; 0 if there is none.
func deadChild() int {
	// What the kernel writes into siginfo_t for a child. Its union is aligned
	// like a pointer.
	var info struct {
		signo, errno, code int32
		child              struct {
			_   [0]uintptr
			pid int32
		}
		_ [128]byte // it is no larger
	}
	err := unix.Waitid(unix.P_ALL, 0, (*unix.Siginfo)(unsafe.Pointer(&info)), unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
	if err != nil || info.signo == 0 {
		return 0 // ECHILD: there is no child at all
	}
	return int(info.child.pid)
}
