package plain

import (
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// terminal is the descriptor of the terminal that we are in the foreground of,
// or -1.
type terminal int

// foreground is standard input where that is a terminal that we hold.
func foreground() terminal {
	tty := terminal(os.Stdin.Fd())
	if group, err := tty.group(); err == nil && group == unix.Getpgrp() {
		return tty
	}
	return -1
}

func (t terminal) held() bool { return t >= 0 }

// group is the process group in the terminal's foreground.
func (t terminal) group() (int, error) { return unix.IoctlGetInt(int(t), unix.TIOCGPGRP) }

// hand gives the foreground to another process group, if the first one has it,
// and says whether it had.
func (t terminal) hand(from, to int) bool {
	if !t.held() {
		return false
	}
	if group, err := t.group(); err != nil || group != from {
		return false
	}
	// From the background this raises SIGTTOU, unless that is blocked.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var block, before unix.Sigset_t
	block.Val[0] = 1 << (unix.SIGTTOU - 1)
	if unix.PthreadSigmask(unix.SIG_BLOCK, &block, &before) != nil {
		return false
	}
	err := unix.IoctlSetPointerInt(int(t), unix.TIOCSPGRP, to)
	_ = unix.PthreadSigmask(unix.SIG_SETMASK, &before, nil) // fails for a wrong argument only
	return err == nil
}
