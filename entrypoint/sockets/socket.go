package sockets

import (
	"errors"
	"io/fs"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"

	"github.com/stablehand/stablehand/internal/sockdiag"
)

// backlog is how many connections may wait at a socket: gunicorn's default, which it
// sets again as it likes.
const backlog = 2048

// socket is one that listens, or is about to. It does not block, as gunicorn sets it:
// that is of the socket, and so of all who have it.
type socket struct {
	fd    int // notOurs where only others have it open
	inode uint64
	name  string      // that a unix socket is bound to
	file  fs.FileInfo // there

	visitors []netip.AddrPort // see Listener; as of when its group was listed
}

const notOurs = -1

func (s socket) ours() bool { return s.fd != notOurs }

// newSocket is a socket that no child inherits unless it is told to.
func newSocket(family int) (socket, error) {
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return socket{}, os.NewSyscallError("socket", err)
	}
	s, err := socketOf(fd)
	if err != nil {
		return socket{}, errors.Join(err, unix.Close(fd))
	}
	return s, nil
}

func socketOf(fd int) (socket, error) {
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return socket{}, os.NewSyscallError("fstat", err)
	}
	return socket{fd: fd, inode: stat.Ino}, nil
}

// options are set one after the other, until one fails.
type option struct{ level, name, value int }

func (s socket) set(options ...option) error {
	for _, o := range options {
		if err := unix.SetsockoptInt(s.fd, o.level, o.name, o.value); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
	}
	return nil
}

func (s socket) listen() error { return os.NewSyscallError("listen", unix.Listen(s.fd, backlog)) }

// waiting is how many connections nobody has accepted yet; where the kernel does not
// count them, as gVisor's may not, 1 stands for some.
func (s socket) waiting() (int, error) {
	if !s.ours() {
		return s.waitingElsewhere()
	}
	n := 0
	if info, err := unix.GetsockoptTCPInfo(s.fd, unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
		n = int(info.Unacked) // of one that listens, its accept queue: tcp_get_info() in the kernel
	} else if queue, err := sockdiag.UnixQueue(uint32(s.inode)); err == nil {
		n = queue
	}
	if n > 0 {
		return n, nil
	}
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(s.fd), Events: unix.POLLIN}}, 0)
		if !errors.Is(err, unix.EINTR) {
			return n, os.NewSyscallError("poll", err)
		}
	}
}

// waitingElsewhere is how many connections have not been accepted from a socket that we
// have no descriptor of; none wait at one that does not listen any more.
func (s socket) waitingElsewhere() (int, error) {
	if s.name != "" {
		return sockdiag.UnixQueue(uint32(s.inode))
	}
	list, err := listening(0)
	for _, one := range list {
		if uint64(one.Inode) == s.inode {
			return int(one.Queue), nil
		}
	}
	return 0, err
}

// end has a socket listen no more, whoever else has a descriptor of it, and closes ours.
// The connections that wait there are reset. One that never listened has nothing to end.
// Of a socket that is not ours nothing is ended, or closed.
func (s socket) end() error {
	if !s.ours() {
		return nil
	}
	err := unix.Shutdown(s.fd, unix.SHUT_RDWR)
	if errors.Is(err, unix.ENOTCONN) {
		err = nil
	}
	return errors.Join(os.NewSyscallError("shutdown", err), s.close())
}

// close closes our descriptor, and nobody else's.
func (s socket) close() error {
	if !s.ours() {
		return nil
	}
	return os.NewSyscallError("close", unix.Close(s.fd))
}
