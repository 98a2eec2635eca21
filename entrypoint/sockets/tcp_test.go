package sockets

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stablehand/stablehand/internal/proc"
	"github.com/stablehand/stablehand/internal/sockdiag"
)

func TestNothingListensBeforeThereIsAListener(t *testing.T) {
	a := loopback(t)
	s := opened(t, a)
	if !refused(a) {
		t.Error("there is somebody to connect to")
	}
	l := added(t, s)
	dial(t, a)
	waits(t, l, 1)
	must(t, s.Steer(l))
	dial(t, a)
	waits(t, l, 2)
}

// What is taken is nobody else's, with whatever options.
func TestAnAddressThatIsTakenIsNobodyElses(t *testing.T) {
	a := loopback(t)
	s := opened(t, a)
	for _, options := range [][]int{nil, {unix.SO_REUSEADDR}, {unix.SO_REUSEPORT}, {unix.SO_REUSEADDR, unix.SO_REUSEPORT}} {
		other, err := tcp{a}.bind(all(options)...)
		if err == nil {
			err = other.listen()
			must(t, other.close())
		}
		if !errors.Is(err, unix.EADDRINUSE) {
			t.Errorf("with the options %v: %v", options, err)
		}
	}
	_, err := Open([]Address{a})
	inUseBy(t, err, a, 0)
	added(t, s)
	if _, err := Open([]Address{a}); !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("once it listens: %v", err)
	}
}

func TestAnAddressThatSomebodyElseHasIsInUse(t *testing.T) {
	for name, options := range map[string][]int{
		"plain":                  nil,
		"that lets others bind":  {unix.SO_REUSEADDR},
		"that lets others in":    {unix.SO_REUSEPORT},
		"that lets all in there": {unix.SO_REUSEADDR, unix.SO_REUSEPORT},
	} {
		t.Run("by a listener "+name, func(t *testing.T) {
			a, free := loopback(t), loopback(t)
			pid := foreign(t, a, options...)
			_, err := Open([]Address{free, a})
			inUseBy(t, err, a, pid)
			opened(t, free) // is not held by what has failed
		})
		t.Run("by a wildcard listener "+name, func(t *testing.T) {
			all := anyPort(t, "0.0.0.0:%d")
			pid := foreign(t, all, options...)
			for _, at := range []string{"127.0.0.1:%d", ":%d", "[::]:%d"} {
				if at == "[::]:%d" {
					withIPv6(t)
				}
				a := parsed(t, fmt.Sprintf(at, all.tcp.Port()))
				_, err := Open([]Address{a})
				inUseBy(t, err, a, pid)
			}
		})
		t.Run("by a listener at a part of it "+name, func(t *testing.T) {
			part := anyPort(t, "127.0.0.1:%d")
			pid := foreign(t, part, options...)
			for _, at := range []string{"0.0.0.0:%d", "[::]:%d"} {
				if at == "[::]:%d" {
					withIPv6(t)
				}
				a := parsed(t, fmt.Sprintf(at, part.tcp.Port()))
				_, err := Open([]Address{a})
				inUseBy(t, err, a, pid)
			}
		})
	}
}

// Somebody may have bound before us and not listened yet: then it is us who do.
func TestWhoHasBoundAndListensTooLateIsRefused(t *testing.T) {
	a := loopback(t)
	other := bound(t, a, unix.SO_REUSEADDR)
	defer other.close()
	s := opened(t, a)
	added(t, s)
	if err := other.listen(); !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("another one listens, too: %v", err)
	}
}

// He may be of our own user, and let us in.
func TestWhoHasBoundAndListensFirstHasTheAddress(t *testing.T) {
	for _, options := range [][]int{{unix.SO_REUSEADDR}, {unix.SO_REUSEADDR, unix.SO_REUSEPORT}} {
		a := loopback(t)
		other := bound(t, a, unix.SO_REUSEADDR)
		s := opened(t, a)
		must(t, s.taken[0].set(all(options)...)) // or he could not
		must(t, other.set(all(options)...))
		must(t, other.listen())
		pid := stranger(t, other.fd)
		must(t, other.close())
		_, err := s.Add()
		inUseBy(t, err, a, pid)
	}
}

// Connections that have ended lately hold their port for a minute: those of a server
// that closes first.
func TestWhatEarlierConnectionsHaveLeftIsNotInTheWay(t *testing.T) {
	const timeWait = 6
	a := loopback(t)
	s := opened(t, a)
	l := added(t, s)
	c := dial(t, a)
	waits(t, l, 1)
	fd, _, err := unix.Accept(l.Descriptors()[0])
	must(t, err)
	must(t, unix.Close(fd))
	must(t, c.Close())
	appears(t, a, timeWait)
	must(t, s.Close())
	added(t, opened(t, a))
}

// appears waits until there is a connection in some state at an address.
func appears(t *testing.T, a Address, state sockdiag.State) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		list, err := sockdiag.ListTCP([]byte{unix.AF_INET}, a.tcp.Port(), state)
		must(t, err)
		if slices.ContainsFunc(list, func(one sockdiag.TCP) bool { return one.Local == a.tcp }) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("no connection at %v is in the state %d", a, state)
		}
	}
}

func TestWhatIsClosedOrCouldNotBeHadIsFreeAgain(t *testing.T) {
	for _, unable := range []error{nil, errUnable} {
		a, used := loopback(t), loopback(t)
		foreign(t, used)
		if _, err := open([]Address{a, used}, unable); !errors.Is(err, unix.EADDRINUSE) {
			t.Error(err)
		}
		for range 2 {
			s, err := open([]Address{a}, unable)
			must(t, err)
			must(t, s.Close())
		}
	}
}

func TestAddressesThatOverlapAreRefused(t *testing.T) {
	for _, both := range [][2]string{
		{"127.0.0.1:8000", "127.0.0.1:8000"}, {":8000", "127.0.0.1:8000"}, {"127.0.0.1:8000", "0.0.0.0:8000"},
		{"127.0.0.1:8000", "[::]:8000"}, {"[::]:8000", ":8000"}, {"[::1]:8000", "[::]:8000"},
	} {
		if s, err := Open([]Address{parsed(t, both[0]), parsed(t, both[1])}); err == nil || errors.As(err, new(*InUseError)) {
			t.Errorf("%v: %v, %v", both, s, err)
		}
	}
}

func TestThereAreTwoListenersAtTheMost(t *testing.T) {
	s := opened(t, loopback(t))
	for range most {
		added(t, s)
	}
	if _, err := s.Add(); !errors.Is(err, errTwo) {
		t.Error(err)
	}
}

func TestAListenerThatIsNotSteeredToHearsNothing(t *testing.T) {
	a := loopback(t)
	s := opened(t, a)
	first := added(t, s)
	second := added(t, s)
	must(t, unix.Listen(first.Descriptors()[0], 16)) // as gunicorn does with what it is handed
	for range 100 {
		if hears(t, a, first.Descriptors()[0], second.Descriptors()[0]) != 0 {
			t.Fatal("the second one has heard")
		}
	}
	must(t, s.Steer(second))
	for range 100 {
		if hears(t, a, first.Descriptors()[0], second.Descriptors()[0]) != 1 {
			t.Fatal("the first one has heard")
		}
	}
}

func TestSteeredFromAListenerIsSteeredToTheOther(t *testing.T) {
	a := loopback(t)
	s := opened(t, a)
	first := added(t, s)
	must(t, s.SteerFrom(first)) // there is no other
	second := added(t, s)
	for i, from := range []*Listener{second, first, second} {
		must(t, s.SteerFrom(from))
		if at := hears(t, a, first.Descriptors()[0], second.Descriptors()[0]); at != i%2 {
			t.Errorf("after %d, the Listener at %d has heard", i, at)
		}
	}
}

// The client's own filter drops the kernel's answer to its SYN until it is taken away:
// then the next one arrives, which is sent a second later.
func TestAHandshakeUnderWayBelongsToWhereItBegan(t *testing.T) {
	a := loopback(t)
	s := opened(t, a)
	first, second := added(t, s), added(t, s)
	must(t, s.Steer(first))
	client, err := newSocket(unix.AF_INET)
	must(t, err)
	defer client.close()
	drop := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: 0}
	err = unix.SetsockoptSockFprog(client.fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &drop})
	if errors.Is(err, unix.EPERM) {
		t.Skip("no filter on our own socket: ", err)
	}
	must(t, err)
	to := &unix.SockaddrInet4{Port: int(a.tcp.Port()), Addr: a.tcp.Addr().As4()}
	if err := unix.Connect(client.fd, to); !errors.Is(err, unix.EINPROGRESS) {
		t.Fatal(err)
	}
	const synReceived = 3
	appears(t, a, synReceived)
	must(t, s.Steer(second))
	waits(t, first, 1) // which is to be waited for
	must(t, unix.SetsockoptInt(client.fd, unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0))
	waits(t, first, 1)
	waits(t, second, 0)
	accepts(t, first)
	waits(t, first, 0)
}

// A worker that goes on for a while has its sockets open, and a child that nobody knows of.
func TestAListenerIsClosedForWhoeverHasItOpen(t *testing.T) {
	a := loopback(t)
	s := opened(t, a)
	first := added(t, s)
	stranger(t, first.Descriptors()[0])
	must(t, s.Steer(first))
	waiter := dial(t, a)
	waits(t, first, 1)
	second := added(t, s)
	stranger(t, second.Descriptors()[0])
	must(t, s.Steer(second))
	must(t, first.Close())
	must(t, waiter.SetDeadline(time.Now().Add(patience)))
	if _, err := waiter.Read(make([]byte, 1)); !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("who waited there is told %v", err)
	}
	for range 10 {
		hears(t, a, second.Descriptors()...)
	}
	if _, err := first.Waiting(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("what waits at it: %v", err)
	}
	if err := s.Steer(first); !errors.Is(err, net.ErrClosed) {
		t.Errorf("steering to it: %v", err)
	}
	must(t, first.Close())
	must(t, s.Close())
	if !refused(a) {
		t.Error("somebody listens")
	}
	if _, err := s.Add(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("adding one: %v", err)
	}
}

func TestNobodyIsSteeredWhereAStrangerListens(t *testing.T) {
	a, b := loopback(t), loopback(t)
	s := opened(t, a, b)
	first, second := added(t, s), added(t, s)
	must(t, s.Steer(first))
	pid := foreign(t, b, unix.SO_REUSEADDR, unix.SO_REUSEPORT)
	inUseBy(t, s.Steer(second), b, pid)
	for _, at := range []int{0, 1} {
		if hears(t, []Address{a, b}[at], first.Descriptors()[at], second.Descriptors()[at]) != 0 {
			t.Error("the second one has heard")
		}
	}
	must(t, second.Close())
	_, err := s.Add()
	inUseBy(t, err, b, pid)
	inUseBy(t, s.Steer(first), b, pid) // nothing of what could be had elsewhere is left there
}

// Somebody who has a socket open may have it listen no more.
func TestNobodyIsSteeredWhereOurOwnDoNotListen(t *testing.T) {
	a := loopback(t)
	s := opened(t, a)
	first, second := added(t, s), added(t, s)
	must(t, s.Steer(first))
	must(t, unix.Shutdown(second.Descriptors()[0], unix.SHUT_RDWR))
	want := fmt.Sprintf("a socket of ours does not listen at %v any more", a)
	if err := s.Steer(second); err == nil || err.Error() != want {
		t.Errorf("%v, want %q", err, want)
	}
	must(t, second.Close())
	must(t, unix.Shutdown(first.Descriptors()[0], unix.SHUT_RDWR))
	if _, err := s.Add(); err == nil || err.Error() != want {
		t.Errorf("%v, want %q", err, want)
	}
}

// A generation that was given up may call listen(2) when its socket has been closed.
func TestAClosedListenerThatListensAgainIsAStranger(t *testing.T) {
	a := loopback(t)
	s := opened(t, a)
	added(t, s)
	second := added(t, s)
	fd := second.Descriptors()[0]
	dup, err := unix.Dup(fd)
	must(t, err)
	pid := stranger(t, fd)
	must(t, second.Close())
	must(t, unix.Listen(dup, 1))
	must(t, unix.Close(dup))
	_, err = s.Add()
	inUseBy(t, err, a, pid)
}

func TestBothKindsOfAddressesAreHeardAtOneSocket(t *testing.T) {
	withIPv6(t)
	a := anyPort(t, "[::]:%d")
	s := opened(t, a)
	first, second := added(t, s), added(t, s)
	for want, l := range []*Listener{first, second} {
		must(t, s.Steer(l))
		for _, at := range []string{"127.0.0.1:%d", "[::1]:%d"} {
			at := parsed(t, fmt.Sprintf(at, a.tcp.Port()))
			if hears(t, at, first.Descriptors()[0], second.Descriptors()[0]) != want {
				t.Errorf("%v is not steered to %d", at, want)
			}
		}
	}
}

func TestDescriptorsAndInodesAreThoseOfTheProcess(t *testing.T) {
	s := opened(t, loopback(t), loopback(t))
	for range most {
		l := added(t, s)
		for i, fd := range l.Descriptors() {
			var want unix.Stat_t
			must(t, unix.Fstat(fd, &want))
			flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
			must(t, err)
			if l.Inodes()[i] != want.Ino || flags&unix.FD_CLOEXEC == 0 {
				t.Errorf("the inode %d of flags %x, want %d", l.Inodes()[i], flags, want.Ino)
			}
			at, err := unix.Getsockname(fd)
			must(t, err)
			if ip := s.points[i].(tcp).address.tcp.Addr().As4(); at.(*unix.SockaddrInet4).Addr != ip {
				t.Errorf("%v stands for %v", at, ip)
			}
		}
	}
}

func TestDescriptorsDoNotGrow(t *testing.T) {
	s := opened(t, loopback(t))
	serving := added(t, s)
	count := func() int {
		list, err := proc.Descriptors(os.Getpid())
		must(t, err)
		return len(list)
	}
	before := count()
	for range 1000 {
		next := added(t, s)
		must(t, s.Steer(next))
		must(t, serving.Close())
		serving = next
	}
	if after := count(); after > before {
		t.Errorf("%d descriptors, where %d were", after, before)
	}
}
