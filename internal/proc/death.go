package proc

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// FirstDeath closes died when the first of some processes ends, until stop is
// called, which may be called whatever the error is. It wraps os.ErrProcessDone
// where one has been reaped already; one that is dead and was not is told of by
// died.
//
// It needs a descriptor for each process, which are not taken from the reserve,
// one more, and a goroutine; how many processes there are makes no difference to
// what the wait costs. All pidfds are in one epoll set, which itself stands in
// that of Go's own poller.
func FirstDeath(pids []int) (died <-chan struct{}, stop func(), err error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, func() {}, fmt.Errorf("watch for deaths: %w", err)
	}
	pidfds := []int{}
	undo := func() {
		for _, fd := range append(pidfds, epoll) {
			unix.Close(fd)
		}
	}
	for _, pid := range pids {
		pidfd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			undo()
			return nil, func() {}, because(pid, "watch for the death of", err)
		}
		pidfds = append(pidfds, pidfd)
		event := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(pidfd)}
		if err := unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, pidfd, &event); err != nil {
			undo()
			return nil, func() {}, because(pid, "watch for the death of", err)
		}
	}
	if err := unix.SetNonblock(epoll, true); err != nil {
		undo()
		return nil, func() {}, fmt.Errorf("watch for deaths: %w", err)
	}
	file := os.NewFile(uintptr(epoll), "deaths")
	first, waited := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(waited)
		if awaitEvent(file) == nil {
			close(first)
		}
	}()
	return first, func() {
		file.Close()
		<-waited
		for _, fd := range pidfds {
			unix.Close(fd)
		}
	}, nil
}

// awaitEvent blocks until an epoll set has an event, or returns an error when it
// is closed.
func awaitEvent(epoll syscall.Conn) error {
	conn, err := epoll.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = conn.Read(func(fd uintptr) bool {
		var n int
		var events [1]unix.EpollEvent
		n, failed = again(func() (int, error) { return unix.EpollWait(int(fd), events[:], 0) })
		return failed != nil || n > 0
	})
	return errors.Join(err, failed)
}
