package sockets

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stablehand/stablehand/internal/sockdiag"
)

// everywhere runs a test at each kind of address.
func everywhere(t *testing.T, test func(*testing.T, Address)) {
	for name, address := range map[string]func(*testing.T) Address{
		"IPv4":          loopback,
		"IPv4 wildcard": func(t *testing.T) Address { return anyPort(t, "0.0.0.0:%d") },
		"IPv6":          func(t *testing.T) Address { withIPv6(t); return anyPort(t, "[::1]:%d") },
		"both":          func(t *testing.T) Address { withIPv6(t); return anyPort(t, "[::]:%d") },
		"unix":          inDirectory,
	} {
		t.Run(name, func(t *testing.T) { test(t, address(t)) })
	}
}

// visited is the answer to a connection to a Listener, whatever is steered.
func visited(l *Listener) (byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := l.Dial(ctx)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	if c, ok := c.(visiting); ok {
		_ = c.Conn.(*net.TCPConn).SetLinger(0)
	}
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return 0, err
	}
	answer := make([]byte, 1)
	_, err = c.Read(answer)
	return answer[0], err
}

// serving has a Listener's socket answer with a byte until it is closed.
func serving(t *testing.T, l *Listener, answer byte) {
	t.Helper()
	fd := duplicate(t, l)
	var server sync.WaitGroup
	server.Go(func() { serve(fd, answer) })
	t.Cleanup(func() { must(t, l.of.Close()); server.Wait() })
}

// Two clients connect, and are steered to and fro all the while.
func TestWhoDialsAListenerComesThereAndNobodyElseDoes(t *testing.T) {
	times := 100
	if testing.Short() {
		times = 30
	}
	everywhere(t, func(t *testing.T, a Address) {
		s := opened(t, a)
		listeners := []*Listener{added(t, s), added(t, s)}
		for i, l := range listeners {
			serving(t, l, byte(i))
		}
		must(t, s.Steer(listeners[0]))
		var over atomic.Bool
		var others sync.WaitGroup
		for _, l := range listeners {
			others.Go(func() { // who steers
				for !over.Load() {
					if err := s.Steer(l); err != nil {
						t.Error(err)
					}
					time.Sleep(time.Millisecond)
				}
			})
			others.Go(func() { // a client
				for !over.Load() {
					if _, err := answered(a); err != nil {
						t.Error(err)
					}
					time.Sleep(time.Millisecond) // or all ports were taken
				}
			})
		}
		for n := range times {
			if got, err := visited(listeners[n%2]); err != nil || got != byte(n%2) {
				t.Errorf("%d answers, %v; want %d", got, err, n%2)
				break
			}
		}
		over.Store(true)
		others.Wait()
		for i := range listeners {
			if n := len(listeners[i].visitors); n > 0 {
				t.Errorf("%d visitors are left at %d", n, i)
			}
		}
	})
}

// While somebody visits one Listener all others come to the other one.
func TestAVisitLeavesAllOthersWhereTheyAreSteered(t *testing.T) {
	everywhere(t, func(t *testing.T, a Address) {
		for steered := range 2 {
			s := opened(t, a)
			listeners := []*Listener{added(t, s), added(t, s)}
			must(t, s.Steer(listeners[steered]))
			c, err := listeners[1-steered].Dial(t.Context())
			must(t, err)
			waits(t, listeners[1-steered], 1)
			for i := range 20 {
				other := dial(t, a)
				waits(t, listeners[steered], i+1)
				must(t, other.SetDeadline(time.Now()))
			}
			waits(t, listeners[1-steered], 1)
			must(t, s.Steer(listeners[1-steered])) // and back, while the visit goes on
			must(t, s.Steer(listeners[steered]))
			dial(t, a)
			waits(t, listeners[steered], 21)
			must(t, c.Close())
			must(t, s.Close())
		}
	})
}

// A dual-stack socket is visited by IPv4 where there is no IPv6.
func TestAWildcardIsReachedByTheFamilyThatThereIs(t *testing.T) {
	withIPv6(t)
	a := anyPort(t, "[::]:%d")
	s := opened(t, a)
	listeners := []*Listener{added(t, s), added(t, s)}
	must(t, s.Steer(listeners[0]))
	for i, to := range sockdiag.Reach(a.tcp) {
		c, err := listeners[1].visit(t.Context(), to)
		must(t, err)
		defer c.Close()
		waits(t, listeners[1], i+1)
	}
}

// A handshake that comes late, as where the accept queue was full, is a visitor's still.
func TestWhoVisitsAFullQueueWaitsAndComesThere(t *testing.T) {
	a := loopback(t)
	s := opened(t, a)
	listeners := []*Listener{added(t, s), added(t, s)}
	serving(t, listeners[0], 0)
	must(t, s.Steer(listeners[0]))
	must(t, unix.Listen(listeners[1].sockets[0].fd, 0)) // one fits in
	first, err := listeners[1].Dial(t.Context())
	must(t, err)
	defer first.Close()
	waits(t, listeners[1], 1)
	short, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if c, err := listeners[1].Dial(short); err == nil {
		c.Close()
		t.Error("one more has come to a full queue")
	}
	got := make(chan string, 1)
	go func() {
		answer, err := visited(listeners[1])
		got <- fmt.Sprint(answer, err)
	}()
	time.Sleep(100 * time.Millisecond)
	serving(t, listeners[1], 1)
	if answer := <-got; answer != "1 <nil>" {
		t.Error(answer)
	}
}

func TestNobodyVisitsWhatIsClosedReleasedOrShared(t *testing.T) {
	both(t, func(t *testing.T, a Address) {
		s := opened(t, a)
		one, two := added(t, s), added(t, s)
		c, err := two.Dial(t.Context())
		must(t, err)
		must(t, one.Release())
		must(t, c.Close()) // touches nothing that is not ours any more
		if c, err := two.Dial(t.Context()); a.path == "" && !errors.Is(err, net.ErrClosed) {
			t.Errorf("%v, %v after a release", c, err)
		}
		must(t, s.Close())
		if c, err := two.Dial(t.Context()); err == nil {
			t.Errorf("%v after the end", c)
		}
	})
	a := loopback(t)
	s, err := open([]Address{a}, errors.New("the kernel does not steer"))
	must(t, err)
	defer s.Close()
	if _, err := added(t, s).Dial(t.Context()); !errors.Is(err, ErrShared) {
		t.Error(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	f, err := l.(*net.TCPListener).File()
	must(t, err)
	inherited, err := Inherit([]int{int(f.Fd())})
	must(t, err)
	if _, err := added(t, inherited).Dial(t.Context()); !errors.Is(err, ErrShared) {
		t.Error(err)
	}
}

// Who else is in the group could have changed its filter, or its places.
func TestNobodyVisitsWhereSomebodyElseListensToo(t *testing.T) {
	a := loopback(t)
	s := opened(t, a)
	added(t, s)
	l := added(t, s)
	pid := foreign(t, a, unix.SO_REUSEADDR, unix.SO_REUSEPORT)
	c, err := l.Dial(t.Context())
	if err == nil {
		c.Close()
	}
	inUseBy(t, err, a, pid)
}

// Where all ports of an address are taken, as by a proxy, another address of loopback has some.
func TestWhereNoPortIsLeftAnotherAddressIsConnectedFrom(t *testing.T) {
	const localPortRange = 51 // IP_LOCAL_PORT_RANGE, from Linux 6.3 on
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer taken.Close()
	port := taken.Addr().(*net.TCPAddr).AddrPort().Port()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	defer unix.Close(fd)
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, localPortRange, int(port)<<16|int(port)); err != nil {
		t.Skip(err)
	}
	from, err := bindClient(fd, netip.MustParseAddr("127.0.0.1"))
	if err != nil || from.Port() != port || !from.Addr().IsLoopback() || from.Addr().String() == "127.0.0.1" {
		t.Fatal(from, err)
	}
}
