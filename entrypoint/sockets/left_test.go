package sockets

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// leftOver are sockets that were opened by who has been killed, as another process has
// them, with their inodes: so many, and steered to one of them.
func leftOver(t *testing.T, a Address, many, steered int) (descriptors []int, inodes [][]uint64) {
	t.Helper()
	s := opened(t, a)
	var listeners []*Listener
	for range many {
		l := added(t, s)
		listeners = append(listeners, l)
		fd := duplicate(t, l)
		t.Cleanup(func() { _ = unix.Close(fd) })
		descriptors, inodes = append(descriptors, fd), append(inodes, l.Inodes())
	}
	must(t, s.Steer(listeners[steered]))
	for _, l := range listeners {
		must(t, l.sockets[0].close())
		l.left = true // to the end of the test
	}
	return descriptors, inodes
}

// begun takes over what was left over.
func begun(t *testing.T, a Address, inodes [][]uint64) *Sockets {
	t.Helper()
	s, err := Open([]Address{a}, inodes...)
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	if left := s.Left(); len(left) != len(inodes) {
		t.Fatalf("%d are left, want %d", len(left), len(inodes))
	}
	return s
}

// heard connects some times, and fails where not all come to one of some sockets.
func heard(t *testing.T, a Address, want int, descriptors ...int) {
	t.Helper()
	for range 8 {
		if got := hears(t, a, descriptors...); got != want {
			t.Fatalf("the connection came to %d, want %d", got, want)
		}
	}
}

// What is left alone may have been the first of its group, or the second before.
func TestASocketIsPutBesideOneThatWasLeftOver(t *testing.T) {
	both(t, func(t *testing.T, a Address) {
		for _, many := range []int{1, 2} {
			descriptors, inodes := leftOver(t, a, many, many-1)
			theirs := descriptors[many-1]
			if many == 2 {
				must(t, unix.Close(descriptors[0])) // then the filter says 1, and it is at 0
			}
			s := begun(t, a, inodes[many-1:])
			left := s.Left()[0]
			must(t, s.Steer(left))
			ours := added(t, s)
			fd := ours.Descriptors()[0]
			heard(t, a, 0, theirs, fd)
			must(t, s.Steer(ours))
			heard(t, a, 1, theirs, fd)
			must(t, s.Steer(left))
			heard(t, a, 0, theirs, fd)
			must(t, s.Steer(ours))

			must(t, left.Release())
			must(t, unix.Close(theirs))
			heard(t, a, 0, fd)
			must(t, left.Close())
			next := added(t, s)
			heard(t, a, 0, fd, next.Descriptors()[0])
			must(t, s.Steer(next))
			heard(t, a, 1, fd, next.Descriptors()[0])
			must(t, s.Close())
		}
	})
}

func TestOneOfTwoThatWereLeftOverIsSteeredTo(t *testing.T) {
	both(t, func(t *testing.T, a Address) {
		for _, before := range []int{0, 1} {
			descriptors, inodes := leftOver(t, a, 2, before)
			s := begun(t, a, inodes)
			left := s.Left()
			if _, err := s.Add(); err != errTwo {
				t.Errorf("a third one: %v", err)
			}
			for _, i := range []int{0, 1, 0, 1} {
				must(t, s.Steer(left[i]))
				heard(t, a, i, descriptors...)
			}
			must(t, unix.Close(descriptors[0]))
			heard(t, a, 0, descriptors[1])
			must(t, left[0].Close())
			ours := added(t, s)
			heard(t, a, 0, descriptors[1], ours.Descriptors()[0])
			must(t, s.Steer(ours))
			heard(t, a, 1, descriptors[1], ours.Descriptors()[0])
			must(t, unix.Close(descriptors[1]))
			must(t, left[1].Close())
			must(t, s.Close())
		}
	})
}

func TestWhatWaitsAtASocketThatWasLeftOverIsTold(t *testing.T) {
	both(t, func(t *testing.T, a Address) {
		descriptors, inodes := leftOver(t, a, 1, 0)
		left := begun(t, a, inodes).Left()[0]
		for want := range 3 {
			waits(t, left, want)
			dial(t, a)
		}
		must(t, unix.Close(descriptors[0]))
		if a.path == "" {
			waits(t, left, 0)
		}
	})
}

// Who listens beside what was left over may not be steered to.
func TestNobodyElseMayBeBesideWhatWasLeftOver(t *testing.T) {
	a := loopback(t)
	_, inodes := leftOver(t, a, 1, 0)
	pid := foreign(t, a, unix.SO_REUSEPORT)
	_, err := Open([]Address{a}, inodes...)
	inUseBy(t, err, a, pid)
	_, err = open([]Address{a}, errUnable, inodes...)
	if err == nil {
		t.Error("where the kernel does not steer it is taken over")
	}
}

// A group has its filter set by a socket that comes and goes, while clients connect: none
// is refused, and none waits there.
func TestNobodyIsLostToASocketThatOnlySetsTheFilter(t *testing.T) {
	t.Run("IPv4", func(t *testing.T) {
		a := loopback(t)
		nobodyIsLost(t, a, a)
	})
	for name, clients := range map[string]string{"IPv6": "[::1]:%d", "IPv4 at a socket of IPv6": "127.0.0.1:%d"} {
		t.Run(name, func(t *testing.T) {
			withIPv6(t)
			a := anyPort(t, "[::]:%d")
			nobodyIsLost(t, a, parsed(t, fmt.Sprintf(clients, a.tcp.Port())))
		})
	}
}

// nobodyIsLost visits the group at an address, while clients connect to where it is.
func nobodyIsLost(t *testing.T, a, to Address) {
	descriptors, inodes := leftOver(t, a, 1, 0)
	s := begun(t, a, inodes)
	var ended atomic.Bool
	var clients, servers sync.WaitGroup
	served, err := unix.FcntlInt(uintptr(descriptors[0]), unix.F_DUPFD_CLOEXEC, 0) // which serve closes
	must(t, err)
	servers.Go(func() { serve(served, 7) })
	var slow, all atomic.Int64
	for range 2 {
		clients.Go(func() {
			for !ended.Load() {
				from := time.Now()
				if got, err := answered(to); err != nil || got != 7 {
					t.Errorf("%d, %v", got, err)
					return
				}
				all.Add(1)
				if time.Since(from) > 900*time.Millisecond {
					slow.Add(1)
				}
			}
		})
	}
	visits := 0
	for end := time.Now().Add(time.Second); time.Now().Before(end); visits++ {
		must(t, tcp{a}.visit(visits%2)) // each other time a connection could come to it
		time.Sleep(100 * time.Microsecond)
	}
	ended.Store(true)
	clients.Wait()
	must(t, unix.Shutdown(descriptors[0], unix.SHUT_RDWR))
	servers.Wait()
	t.Logf("%d visits, %d connections, %d of which had to send their SYN again", visits, all.Load(), slow.Load())
	must(t, s.Close())
}

func TestWhoListensIsFoundByAddress(t *testing.T) {
	both(t, func(t *testing.T, a Address) {
		_, inodes := leftOver(t, a, 2, 0)
		found, err := Listening([]Address{a, loopback(t), inDirectory(t)})
		must(t, err)
		want := [][]uint64{{inodes[0][0], inodes[1][0]}, nil, nil}
		slices.Sort(found[0])
		slices.Sort(want[0])
		if fmt.Sprint(found) != fmt.Sprint(want) {
			t.Errorf("%v, want %v", found, want)
		}
	})
}
