package sockets

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// tcp is an address where a group of sockets listens.
type tcp struct{ address Address }

// take binds a socket that is the only one at its address. Nothing listens yet: who
// connects is refused. SO_REUSEADDR is there to pass what earlier connections have left
// behind (TIME_WAIT), and is taken back lest somebody else should bind with it, too.
func (t tcp) take() (socket, error) {
	s, err := t.bind(option{unix.SOL_SOCKET, unix.SO_REUSEADDR, 1})
	if err != nil {
		return socket{}, err
	}
	if err := s.set(option{unix.SOL_SOCKET, unix.SO_REUSEADDR, 0}); err != nil {
		return socket{}, errors.Join(err, s.close())
	}
	return s, nil
}

// open has the first socket listen, with SO_REUSEPORT, so that another one can join, and
// with a filter from the first moment on. A socket that has a filter is let into no group:
// listen(2) fails where anybody listens already (inet_csk_bind_conflict() in the kernel).
func (t tcp) open(s socket) error {
	err := s.set(option{unix.SOL_SOCKET, unix.SO_REUSEADDR, 1}, option{unix.SOL_SOCKET, unix.SO_REUSEPORT, 1})
	if err == nil {
		err = attach(s, steerTo(0))
	}
	if err == nil {
		err = s.listen()
	}
	if errors.Is(err, unix.EADDRINUSE) {
		return inUse(t.address)
	}
	return err
}

// left is a socket that has been left over, as it stands in its group.
func (t tcp) left(inode uint64) (socket, error) { return socket{fd: notOurs, inode: inode}, nil }

// join has a socket listen beside the only one there is, which new connections go to.
func (t tcp) join(present socket) (socket, error) {
	group := []socket{present}
	err := t.steer(group, 0)
	if strange := strangers(t.address, group); strange != nil {
		err = strange // be it that the kernel gives one that listens no more no filter, either
	}
	if err != nil {
		return socket{}, err
	}
	s, err := t.bindShared()
	if err != nil {
		return socket{}, err
	}
	if err := s.listen(); err != nil {
		return socket{}, errors.Join(err, s.close())
	}
	return s, nil
}

// check is the error of what makes the places of these sockets uncertain.
func (t tcp) check(group []socket) error { return strangers(t.address, group) }

// steer has new connections go to the socket at a place.
func (t tcp) steer(group []socket, place int) error {
	if i := slices.IndexFunc(group, socket.ours); i >= 0 {
		return attach(group[i], steerGroup(group, place))
	}
	return t.visit(place)
}

// visit gives a group its filter in which no socket is ours: one of ours comes to its
// end, and leaves again, so that no place changes. A SYN that comes to it meanwhile, as
// where the filter said 1 and there was one socket, is dropped. The client sends another
// after a second.
func (t tcp) visit(place int) error {
	s, err := t.bindShared()
	if err != nil {
		return err
	}
	return errors.Join(s.hearNothing(t.family()), s.listen(), attach(s, steerTo(place)), s.close())
}

// hearNothing has a socket drop each packet whose TTL is not 255, as that of nobody is
// who is not set to it: Linux and macOS begin with 64, Windows with 128. IP_MINTTL of
// ip(7) is for everybody, while a filter (SO_ATTACH_FILTER) may be root's: seen with Linux
// 6.18, of a TCP socket.
func (s socket) hearNothing(family int) error {
	const most = 255
	options := []option{{unix.IPPROTO_IP, unix.IP_MINTTL, most}} // of IPv4 at a socket of IPv6, too
	if family == unix.AF_INET6 {
		options = append(options, option{unix.IPPROTO_IPV6, unix.IPV6_MINHOPCOUNT, most})
	}
	return s.set(options...)
}

// bindShared binds a socket at an address where others of ours listen.
func (t tcp) bindShared() (socket, error) {
	return t.bind(option{unix.SOL_SOCKET, unix.SO_REUSEADDR, 1}, option{unix.SOL_SOCKET, unix.SO_REUSEPORT, 1})
}

func (t tcp) end(s socket) error { return s.end() }

func (t tcp) leave(s socket) error { return s.close() }

func (t tcp) forget(socket) error { return nil }

func (t tcp) release() error { return nil }

func (t tcp) family() int {
	if t.address.tcp.Addr().Is6() {
		return unix.AF_INET6
	}
	return unix.AF_INET
}

func (t tcp) bind(options ...option) (socket, error) {
	at := unix.Sockaddr(&unix.SockaddrInet4{Port: int(t.address.tcp.Port())})
	if ip := t.address.tcp.Addr(); ip.Is6() {
		at = &unix.SockaddrInet6{Port: int(t.address.tcp.Port()), Addr: ip.As16()}
		options = append(options, option{unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 0}) // as gunicorn has it
	} else {
		at.(*unix.SockaddrInet4).Addr = ip.As4()
	}
	s, err := newSocket(t.family())
	if err != nil {
		return socket{}, err
	}
	err = s.set(options...)
	if err == nil {
		err = os.NewSyscallError("bind", unix.Bind(s.fd, at))
	}
	if err == nil {
		return s, nil
	}
	err = errors.Join(err, s.close())
	if errors.Is(err, unix.EADDRINUSE) {
		return socket{}, inUse(t.address)
	}
	return socket{}, fmt.Errorf("listen at %v: %w", t.address, err)
}

// steers is why the kernel cannot steer TCP connections, or not tell whether it does.
func steers() error {
	s, err := newSocket(unix.AF_INET)
	if err != nil {
		return err
	}
	err = s.set(option{unix.SOL_SOCKET, unix.SO_REUSEPORT, 1})
	if err == nil {
		err = attach(s, steerTo(0))
	}
	if err == nil {
		_, err = listening(1)
	}
	if err = errors.Join(err, s.close()); err != nil {
		return fmt.Errorf("the kernel does not steer connections: %w", err)
	}
	return nil
}
