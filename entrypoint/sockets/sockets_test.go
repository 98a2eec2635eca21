package sockets

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// patience is for what is sure to come, on a machine however busy.
const patience = time.Minute

// loopback is an address that no other test has: there are 2^24 that lead to ourselves.
func loopback(t *testing.T) Address {
	return parsed(t, fmt.Sprintf("127.%d.%d.%d:8000", 1+rand.N(254), rand.N(256), 1+rand.N(254)))
}

// inDirectory is a path in a directory of its own, whose name is short enough.
func inDirectory(t *testing.T) Address {
	dir, err := os.MkdirTemp("", "s")
	must(t, err)
	t.Cleanup(func() { must(t, os.RemoveAll(dir)) })
	return parsed(t, "unix:"+dir+"/app.sock")
}

// both runs a test with an address of each kind.
func both(t *testing.T, test func(*testing.T, Address)) {
	t.Run("tcp", func(t *testing.T) { test(t, loopback(t)) })
	t.Run("unix", func(t *testing.T) { test(t, inDirectory(t)) })
}

// anyPort is an address at a port that nobody listens at, and that is given to no client.
func anyPort(t *testing.T, format string) Address {
	for {
		a := parsed(t, fmt.Sprintf(format, 10000+rand.N(20000)))
		if l, err := net.Listen("tcp", a.tcp.String()); err == nil {
			must(t, l.Close())
			return a
		}
	}
}

// withIPv6 skips what is left of a test where there is none.
func withIPv6(t *testing.T) {
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Skip(err)
	}
	must(t, l.Close())
}

func parsed(t *testing.T, text string) Address {
	t.Helper()
	a, err := ParseAddress(text)
	must(t, err)
	return a
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// opened are sockets at addresses, closed when the test ends.
func opened(t *testing.T, addresses ...Address) *Sockets {
	t.Helper()
	s, err := Open(addresses)
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	if s.Unsteered() != nil {
		t.Fatal(s.Unsteered())
	}
	return s
}

func added(t *testing.T, s *Sockets) *Listener {
	t.Helper()
	l, err := s.Add()
	must(t, err)
	return l
}

// network is what net.Dial wants of an address.
func network(a Address) (string, string) {
	if a.path != "" {
		return "unix", a.path
	}
	return "tcp", a.tcp.String()
}

// dial connects, and closes when the test ends.
func dial(t *testing.T, a Address) net.Conn {
	t.Helper()
	kind, at := network(a)
	c, err := net.DialTimeout(kind, at, patience)
	must(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// hears connects, and is which of some sockets the connection came to, of all that may
// have it. It is accepted there, and reset: one that is closed holds its port for a minute.
func hears(t *testing.T, a Address, descriptors ...int) int {
	t.Helper()
	c := dial(t, a)
	if c, ok := c.(*net.TCPConn); ok {
		must(t, c.SetLinger(0))
	}
	var polled []unix.PollFd
	for _, fd := range descriptors {
		polled = append(polled, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
	}
	for {
		n, err := unix.Poll(polled, int(patience.Milliseconds()))
		if errors.Is(err, unix.EINTR) {
			continue
		}
		must(t, err)
		if n != 1 {
			t.Fatalf("%d sockets have the one connection", n)
		}
		i := slices.IndexFunc(polled, func(p unix.PollFd) bool { return p.Revents != 0 })
		fd, _, err := unix.Accept4(descriptors[i], unix.SOCK_CLOEXEC)
		must(t, err)
		must(t, c.Close())
		must(t, unix.Close(fd))
		return i
	}
}

// refused says whether nobody listens.
func refused(a Address) bool {
	kind, at := network(a)
	c, err := net.DialTimeout(kind, at, patience)
	if err == nil {
		_ = c.Close()
	}
	return errors.Is(err, unix.ECONNREFUSED) || errors.Is(err, unix.ENOENT)
}

// stranger is a process that has a socket, which has another name than we have. It
// ends with the test.
func stranger(t *testing.T, fd int) (pid int) {
	t.Helper()
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	must(t, err)
	f := os.NewFile(uintptr(dup), "socket")
	defer f.Close()
	cmd := exec.Command("cat")
	cmd.ExtraFiles = []*os.File{f}
	stdin, err := cmd.StdinPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() { _ = stdin.Close(); _ = cmd.Wait() })
	return cmd.Process.Pid
}

// foreign is a socket that listens at an address with some options, in a stranger only.
func foreign(t *testing.T, a Address, options ...int) (pid int) {
	t.Helper()
	s := bound(t, a, options...)
	must(t, s.listen())
	pid = stranger(t, s.fd)
	must(t, s.close())
	return pid
}

func bound(t *testing.T, a Address, options ...int) socket {
	t.Helper()
	s, err := tcp{a}.bind(all(options)...)
	must(t, err)
	return s
}

// all are options that are set.
func all(names []int) (set []option) {
	for _, name := range names {
		set = append(set, option{unix.SOL_SOCKET, name, 1})
	}
	return set
}

func inUseBy(t *testing.T, err error, a Address, pid int) {
	t.Helper()
	var inUse *InUseError
	if !errors.As(err, &inUse) || inUse.Address != a || inUse.PID != pid || !errors.Is(err, unix.EADDRINUSE) {
		t.Fatalf("%v, want that %v is in use by %d", err, a, pid)
	}
	want := fmt.Sprintf("%v is in use by cat (pid %d)", a, pid)
	if pid == 0 {
		want = fmt.Sprintf("%v is in use, by whom cannot be told", a)
	}
	if !strings.Contains(err.Error(), want) {
		t.Errorf("%q does not say %q", err, want)
	}
}

// waits waits until so many connections wait.
func waits(t *testing.T, l *Listener, want int) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		n, err := l.Waiting()
		must(t, err)
		if n == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d connections wait, want %d", n, want)
		}
	}
}

// step is one of what can be done, to the older of two Listeners or to the newer.
type step struct {
	name  string
	index int
}

// steps are those that can be done with so many Listeners.
func steps(alive int) (can []step) {
	if alive < most {
		can = append(can, step{"add", alive})
	}
	for i := range alive {
		can = append(can, step{"steer", i}, step{"close", i})
	}
	return can
}

// sequences calls each with all sequences of steps of some length.
func sequences(length, alive int, before []step, each func([]step)) {
	if length == 0 {
		each(before)
		return
	}
	for _, next := range steps(alive) {
		after := map[string]int{"add": alive + 1, "steer": alive, "close": alive - 1}[next.name]
		sequences(length-1, after, append(slices.Clone(before), next), each)
	}
}

func TestTheKernelPutsEachConnectionWhereItIsSteered(t *testing.T) {
	longest := 7
	if testing.Short() {
		longest = 5
	}
	both(t, func(t *testing.T, a Address) {
		for length := 1; length <= longest; length++ {
			sequences(length, 0, nil, func(all []step) {
				if err := placed(t, a, all); err != nil {
					t.Fatalf("%v: %v", all, err)
				}
			})
		}
	})
}

// placed goes through steps, and looks who gets the next connection.
func placed(t *testing.T, a Address, all []step) error {
	s, err := Open([]Address{a})
	must(t, err)
	defer s.Close()
	var alive []*Listener
	var steered *Listener
	for _, next := range all {
		switch next.name {
		case "add":
			alive = append(alive, added(t, s))
		case "steer":
			steered = alive[next.index]
			must(t, s.Steer(steered))
		case "close":
			closed := alive[next.index]
			must(t, closed.Close())
			alive = slices.Delete(alive, next.index, next.index+1)
			if closed == steered {
				steered = append(alive, nil)[0] // the other one, if there is one
			}
		}
	}
	if len(alive) == 0 || a.path != "" && steered == nil {
		if !refused(a) {
			return errors.New("somebody listens")
		}
		return nil
	}
	want := max(slices.Index(alive, steered), 0)
	var descriptors []int
	for _, l := range alive {
		descriptors = append(descriptors, l.Descriptors()...)
	}
	for range 4 { // of which the kernel's own choice would be right in one of 16 cases
		if got := hears(t, a, descriptors...); got != want {
			return fmt.Errorf("the connection came to %d, want %d", got, want)
		}
	}
	return nil
}

// Each of two clients connects as fast as it can while a new Listener comes, is steered
// to, and the old one goes when no handshake can be under way to it any more.
func TestNobodyIsRefusedAndAllComeToWhereTheyAreSteered(t *testing.T) {
	both(t, func(t *testing.T, a Address) { steered(t, a, 200) })
}

func steered(t *testing.T, a Address, times int64) {
	s := opened(t, a)
	var begun, done atomic.Int64 // the Listener that is being steered to, and that has been
	var connected [2]atomic.Int64
	var ended atomic.Bool
	var clients, servers sync.WaitGroup
	next := func(n int64) *Listener {
		l := added(t, s)
		fd := duplicate(t, l)
		servers.Go(func() {
			if !serve(fd, byte(n)) {
				t.Errorf("the socket %d is not closed for who has it", n)
			}
		})
		begun.Store(n)
		must(t, s.Steer(l))
		done.Store(n)
		return l
	}
	serving := next(0)
	for i := range connected {
		clients.Go(func() {
			for !ended.Load() {
				least := done.Load()
				got, err := answered(a)
				if most := begun.Load(); err != nil || got < byte(least) || got > byte(most) {
					t.Errorf("%d answers, %v; want one of %d to %d", got, err, least, most)
					ended.Store(true)
				}
				connected[i].Add(1)
			}
		})
	}
	for n := int64(1); n <= times && !ended.Load(); n++ {
		old := serving
		serving = next(n)
		for i := range connected { // one that began before is over when the second one from now on is
			for from := connected[i].Load(); connected[i].Load() < from+2 && !ended.Load(); {
				time.Sleep(10 * time.Microsecond)
			}
		}
		must(t, old.Close())
	}
	ended.Store(true)
	clients.Wait()
	must(t, s.Close())
	servers.Wait()
	t.Logf("%d connections", connected[0].Load()+connected[1].Load())
}

// duplicate is a Listener's socket as a process has it that it was handed to.
func duplicate(t *testing.T, l *Listener) int {
	t.Helper()
	dup, err := unix.FcntlInt(uintptr(l.Descriptors()[0]), unix.F_DUPFD_CLOEXEC, 0)
	must(t, err)
	return dup
}

// serve answers with one byte until the socket is closed for everybody, of which the
// kernel tells by POLLHUP; it says whether that came in time.
func serve(fd int, answer byte) bool {
	defer unix.Close(fd)
	for {
		polled := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(polled, int(patience.Milliseconds()))
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil || n == 0:
			return false
		case polled[0].Revents&unix.POLLHUP != 0:
			return true
		}
		if c, _, err := unix.Accept4(fd, unix.SOCK_CLOEXEC); err == nil {
			_, _ = unix.Write(c, []byte{answer})
			_ = unix.Close(c)
		}
	}
}

// answered is the answer to a new connection.
func answered(a Address) (byte, error) {
	kind, at := network(a)
	c, err := net.DialTimeout(kind, at, patience)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return 0, err
	}
	answer := make([]byte, 1)
	_, err = c.Read(answer)
	return answer[0], err
}
