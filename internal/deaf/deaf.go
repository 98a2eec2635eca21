// Package deaf makes calls that may never return on threads that take no signal.
//
// The kernel gives a signal to any thread of the process that does not block it.
// Where that thread waits for a file system that does not answer, in a wait that
// only SIGKILL ends (FUSE, a hard NFS mount), the signal waits with it, and no
// other thread is told: a SIGTERM or SIGCHLD that never comes (seen on 6.18 with
// a FUSE daemon that had been stopped).
//
// It knows nothing of what is called, nor of when to give it up.
package deaf

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Call calls f on a thread that takes no signal meanwhile, but for those that the
// Go runtime and the thread itself cause.
func Call(f func()) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before unix.Sigset_t
	if unix.PthreadSigmask(unix.SIG_BLOCK, &others, &before) == nil {
		defer func() { _ = unix.PthreadSigmask(unix.SIG_SETMASK, &before, nil) }() // fails for a wrong argument only
	}
	f()
}

// others are all signals but SIGURG, by which the Go runtime preempts, SIGPROF, by
// which it profiles, and those of the thread's own faults.
var others = func() (set unix.Sigset_t) {
	for n := range set.Val {
		set.Val[n] = ^set.Val[n]
	}
	word := uint(unsafe.Sizeof(set.Val[0]) * 8) // bits
	for _, sig := range []unix.Signal{unix.SIGURG, unix.SIGPROF, unix.SIGSEGV, unix.SIGBUS, unix.SIGFPE, unix.SIGILL, unix.SIGTRAP, unix.SIGSYS} {
		n := uint(sig) - 1
		set.Val[n/word] &^= 1 << (n % word)
	}
	return set
}()
