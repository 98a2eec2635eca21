package sockets

import (
	"errors"
	"net"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// accepts accepts one connection that waits, and returns its inode. It is open until the
// test ends.
func accepts(t *testing.T, l *Listener) uint64 {
	t.Helper()
	_, err := unix.Poll([]unix.PollFd{{Fd: int32(l.Descriptors()[0]), Events: unix.POLLIN}}, int(patience.Milliseconds()))
	must(t, err)
	fd, _, err := unix.Accept4(l.Descriptors()[0], unix.SOCK_CLOEXEC)
	must(t, err)
	t.Cleanup(func() { unix.Close(fd) })
	s, err := socketOf(fd)
	must(t, err)
	return s.inode
}

func TestConnectionsAreThoseThatWereAccepted(t *testing.T) {
	for name, a := range map[string]Address{"tcp": loopback(t), "unix": inDirectory(t)} {
		t.Run(name, func(t *testing.T) {
			s := opened(t, a)
			l := added(t, s)
			must(t, s.Steer(l))
			client := dial(t, a)
			waits(t, l, 1)
			if held, err := s.Connections(); err != nil || len(held) > 0 {
				t.Errorf("%v, %v before it was accepted", held, err)
			}
			inode := accepts(t, l)
			if held, err := s.Connections(); err != nil || !slices.Equal(held, []uint64{inode}) {
				t.Errorf("%v, %v, want %d", held, err, inode)
			}
			must(t, client.Close())
		})
	}
}

// What is released ends with who has it, and nobody is steered by it any more.
func TestWhatIsReleasedIsOthersToEnd(t *testing.T) {
	a := loopback(t)
	s := opened(t, a)
	first := added(t, s)
	must(t, s.Steer(first))
	fd, err := unix.Dup(first.Descriptors()[0]) // a worker's
	must(t, err)
	second := added(t, s)
	must(t, first.Release())
	must(t, first.Release())
	dial(t, a)
	if _, err := first.Waiting(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("what waits at it: %v", err)
	}
	if err := s.Steer(second); !errors.Is(err, net.ErrClosed) {
		t.Errorf("steered: %v", err)
	}
	must(t, unix.Close(fd))
	must(t, second.Release())
	if !refused(a) {
		t.Error("somebody listens still")
	}
	must(t, s.Close())
}
