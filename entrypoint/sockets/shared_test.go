package sockets

import (
	"errors"
	"net"
	"os"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// errUnable is of a kernel that does not steer.
var errUnable = errors.New("no filter")

func TestWhereTheKernelDoesNotSteerListenersShareASocket(t *testing.T) {
	a, path := loopback(t), inDirectory(t)
	s, err := open([]Address{a, path}, errUnable)
	must(t, err)
	defer s.Close()
	if s.Unsteered() != errUnable {
		t.Error(s.Unsteered())
	}
	if !refused(a) {
		t.Error("there is somebody to connect to")
	}
	first, second := added(t, s), added(t, s)
	if first.Inodes()[0] != second.Inodes()[0] || first.Inodes()[1] == second.Inodes()[1] {
		t.Errorf("%v and %v", first.Inodes(), second.Inodes())
	}
	must(t, s.Steer(first))
	must(t, s.Steer(second))
	dial(t, a)
	waits(t, first, 1)
	dial(t, path)
	waits(t, second, 2)
	stranger(t, first.Descriptors()[0])
	must(t, first.Close())
	waits(t, second, 2)
	must(t, second.Close())
	last := added(t, s)
	waits(t, last, 1)
	hears(t, a, last.Descriptors()[0])
	must(t, s.Close())
	if !refused(a) || !refused(path) {
		t.Error("somebody listens")
	}
}

func TestASharedAddressIsNobodyElses(t *testing.T) {
	a := loopback(t)
	s, err := open([]Address{a}, errUnable)
	must(t, err)
	defer s.Close()
	for range most {
		for _, options := range [][]int{nil, {unix.SO_REUSEADDR}, {unix.SO_REUSEPORT}, {unix.SO_REUSEADDR, unix.SO_REUSEPORT}} {
			if other, err := (tcp{a}).bind(all(options)...); !errors.Is(err, unix.EADDRINUSE) {
				t.Errorf("with the options %v: %v, %v", options, other, err)
			}
		}
		added(t, s)
	}
}

// A service manager keeps its sockets, for the next one that it starts.
func TestWhatIsInheritedListensOnWhenAllIsClosed(t *testing.T) {
	path := inDirectory(t)
	one, err := net.Listen("tcp", loopback(t).tcp.String())
	must(t, err)
	defer one.Close()
	other, err := net.Listen("unix", path.path)
	must(t, err)
	defer other.Close()
	addresses := []Address{parsed(t, one.Addr().String()), path}
	var descriptors []int
	for _, l := range []interface{ File() (*os.File, error) }{one.(*net.TCPListener), other.(*net.UnixListener)} {
		f, err := l.File()
		must(t, err)
		fd, err := unix.Dup(int(f.Fd()))
		must(t, err)
		must(t, f.Close())
		descriptors = append(descriptors, fd)
	}
	s, err := Inherit(descriptors)
	must(t, err)
	flags, err := unix.FcntlInt(uintptr(descriptors[0]), unix.F_GETFD, 0)
	must(t, err)
	if flags&unix.FD_CLOEXEC == 0 {
		t.Error("every child inherits them, too")
	}
	if s.Unsteered() == nil {
		t.Error("nothing says why these are not steered")
	}
	first, second := added(t, s), added(t, s)
	if !slices.Equal(first.Descriptors(), descriptors) || !slices.Equal(second.Descriptors(), descriptors) {
		t.Errorf("%v and %v, want %v", first.Descriptors(), second.Descriptors(), descriptors)
	}
	must(t, s.Steer(second))
	dial(t, addresses[0])
	waits(t, first, 1)
	dial(t, addresses[1])
	waits(t, second, 2)
	must(t, first.Close())
	must(t, s.Close())
	for _, a := range addresses {
		if refused(a) {
			t.Errorf("nobody listens at %v any more", a)
		}
	}
	if _, err := unix.FcntlInt(uintptr(descriptors[0]), unix.F_GETFD, 0); !errors.Is(err, unix.EBADF) {
		t.Errorf("a descriptor is left: %v", err)
	}
}

func TestWhatIsNoDescriptorIsNotInherited(t *testing.T) {
	if s, err := Inherit([]int{1 << 20}); !errors.Is(err, unix.EBADF) {
		t.Errorf("%v, %v", s, err)
	}
}
