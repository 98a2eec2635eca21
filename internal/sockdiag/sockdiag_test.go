package sockdiag

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

var both = []byte{unix.AF_INET, unix.AF_INET6}

func TestWhoListensIsToldWithItsQueue(t *testing.T) {
	for _, at := range []string{"127.0.0.1:0", "[::]:0"} {
		l, err := net.Listen("tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		port := l.Addr().(*net.TCPAddr).AddrPort().Port()
		for n := range uint32(3) {
			want := netip.AddrPortFrom(netip.MustParseAddrPort(at).Addr(), port)
			is := func(one TCP) bool {
				return one.State == Listening && one.Local == want && one.Inode != 0 && one.Queue == n
			}
			// On a busy machine who connects may be told of it before who listens.
			for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
				list, err := ListTCP(both, port, Listening)
				if err == nil && slices.ContainsFunc(list, is) {
					break
				}
				if err != nil || time.Now().After(deadline) {
					t.Fatalf("%+v, %v; want a queue of %d at %v", list, err, n, want)
				}
			}
			conn, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
		}
	}
}

func TestHowManyWaitAtAUnixSocketIsTold(t *testing.T) {
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	f, err := l.(*net.UnixListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var stat unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &stat); err != nil {
		t.Fatal(err)
	}
	for want := range 3 {
		if n, err := UnixQueue(uint32(stat.Ino)); err != nil || n != want {
			t.Fatalf("%d wait, %v; want %d", n, err, want)
		}
		conn, err := net.Dial("unix", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	if n, err := UnixQueue(1<<32 - 2); !errors.Is(err, unix.ENOENT) {
		t.Errorf("%d wait at none, %v", n, err)
	}
}

// What has ended, and waits for its packets to be gone, is not told where only those
// that listen are asked for.
func TestOnlyWhatIsAskedForIsTold(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	const established State = 1
	ours := conn.LocalAddr().(*net.TCPAddr).AddrPort()
	list, err := ListTCP(both, ours.Port(), established)
	if err != nil || !slices.ContainsFunc(list, func(one TCP) bool { return one.Local == ours && one.State == established }) {
		t.Fatalf("%v, %v; want %v", list, err, ours)
	}
	conn.Close()
	list, err = ListTCP(both, 0, Listening)
	for _, one := range list {
		if one.State != Listening {
			t.Errorf("%+v is told", one)
		}
	}
	if err != nil || len(list) == 0 {
		t.Errorf("%v, %v", list, err)
	}
}

// Who has accepted a connection is told by its inode, which there is from then on.
func TestWhoHasAcceptedIsTold(t *testing.T) {
	for network, at := range map[string]string{"tcp": "127.0.0.1:0", "tcp4": "[::]:0", "tcp6": "[::1]:0", "unix": filepath.Join(t.TempDir(), "s")} {
		t.Run(network, func(t *testing.T) {
			listens := network
			if network == "tcp4" {
				listens = "tcp" // both kinds
			}
			l, err := net.Listen(listens, at)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			to := l.Addr().String()
			if network == "tcp4" {
				to = fmt.Sprintf("127.0.0.1:%d", l.Addr().(*net.TCPAddr).Port)
			}
			client, err := net.Dial(network, to)
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			accepted := func() (uint32, error) {
				if c, ok := client.(*net.UnixConn); ok {
					return AcceptedUnix(uint32(inode(t, c)))
				}
				return AcceptedTCP(client.RemoteAddr().(*net.TCPAddr).AddrPort(), client.LocalAddr().(*net.TCPAddr).AddrPort())
			}
			if n, err := accepted(); n != 0 || err != nil {
				t.Errorf("%d, %v before it is accepted", n, err)
			}
			server, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			if n, err := accepted(); n == 0 || uint64(n) != inode(t, server.(syscall.Conn)) || err != nil {
				t.Errorf("%d, %v; want %d", n, err, inode(t, server.(syscall.Conn)))
			}
			server.Close()
			if network != "unix" {
				server.(*net.TCPConn).SetLinger(0)
			}
			l.Close()
			for n := uint32(1); n != 0 && err == nil; n, err = accepted() {
				time.Sleep(time.Millisecond) // no inode any more, or no connection
			}
			if err != nil && !errors.Is(err, ErrGone) {
				t.Error(err)
			}
		})
	}
	gone := netip.MustParseAddrPort("127.0.0.1:1")
	if _, err := AcceptedTCP(gone, gone); !errors.Is(err, ErrGone) {
		t.Error(err)
	}
	if _, err := AcceptedUnix(1<<32 - 2); !errors.Is(err, unix.ENOENT) {
		t.Error(err)
	}
}

func inode(t *testing.T, c syscall.Conn) (inode uint64) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) {
			var stat unix.Stat_t
			if err := unix.Fstat(int(fd), &stat); err != nil {
				t.Error(err)
			}
			inode = stat.Ino
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	return inode
}
