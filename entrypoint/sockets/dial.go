package sockets

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/stablehand/stablehand/internal/sockdiag"
)

// ErrShared is why nobody can connect to one Listener: all of them accept from one socket.
var ErrShared = errors.New("all generations accept from one socket")

// Dial connects to the Listener at the first of its addresses, over loopback where that is
// a wildcard, wherever new connections go. Until the connection is closed nobody else in
// the group hears of it. It waits where the accept queue is full.
//
// A Listener that others have from before cannot be told apart: ErrShared.
func (l *Listener) Dial(ctx context.Context) (net.Conn, error) { return l.of.points[0].dial(ctx, l) }

func (p *shared) dial(context.Context, *Listener) (net.Conn, error)   { return nil, ErrShared }
func (p inherited) dial(context.Context, *Listener) (net.Conn, error) { return nil, ErrShared }

// dial goes by the name that the socket has beside the path.
func (p local) dial(ctx context.Context, l *Listener) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "unix", l.sockets[0].name)
}

// dial binds the client's socket before it connects, so that the filter can tell its SYN
// from all others.
func (t tcp) dial(ctx context.Context, l *Listener) (conn net.Conn, err error) {
	if !l.sockets[0].ours() {
		return nil, ErrShared
	}
	for _, to := range sockdiag.Reach(t.address.tcp) {
		if conn, err = l.visit(ctx, to); !sockdiag.Unreachable(err) {
			break
		}
	}
	return conn, err
}

// visit connects to an address that the first socket of a Listener listens at.
func (l *Listener) visit(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	var visitor netip.AddrPort
	leave := func() { l.dismiss(visitor) }
	dialer := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
		leave() // it may be a second try
		var err error
		none := c.Control(func(fd uintptr) {
			if visitor, err = bindClient(int(fd), to.Addr()); err == nil {
				err = l.admit(visitor)
			}
		})
		return errors.Join(none, err)
	}}
	conn, err := dialer.DialContext(ctx, "tcp", to.String())
	if err != nil {
		leave()
		return nil, err
	}
	return visiting{conn, leave}, nil
}

// visiting is a connection of a visitor.
type visiting struct {
	net.Conn
	leave func()
}

func (v visiting) Close() error {
	defer v.leave()
	return v.Conn.Close()
}

// bindClient binds a socket to the address that it is to connect to, and to a port that
// the kernel chooses. Of that address none may be left, where a proxy connects over
// loopback; then another one of loopback will do.
func bindClient(fd int, from netip.Addr) (netip.AddrPort, error) {
	err := bind(fd, from)
	if errors.Is(err, unix.EADDRINUSE) && from.Is4() && from.IsLoopback() {
		err = bind(fd, netip.AddrFrom4([4]byte{127, byte(1 + rand.N(254)), byte(rand.N(256)), byte(1 + rand.N(254))}))
	}
	if errors.Is(err, unix.EADDRINUSE) {
		err = fmt.Errorf("no port is left to connect from: %w", err)
	}
	if err != nil {
		return netip.AddrPort{}, err
	}
	bound, err := unix.Getsockname(fd)
	switch bound := bound.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(bound.Addr), uint16(bound.Port)), nil
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(bound.Addr), uint16(bound.Port)), nil
	}
	return netip.AddrPort{}, os.NewSyscallError("getsockname", err)
}

func bind(fd int, from netip.Addr) error {
	if from.Is4() {
		return unix.Bind(fd, &unix.SockaddrInet4{Addr: from.As4()})
	}
	return unix.Bind(fd, &unix.SockaddrInet6{Addr: from.As16()})
}

// admit has the SYN of a client come to the first socket of a Listener.
func (l *Listener) admit(visitor netip.AddrPort) error {
	s := l.of
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Contains(s.alive, l) || slices.ContainsFunc(s.alive, released) {
		return errClosed
	}
	if err := s.points[0].check(s.group(0)); err != nil {
		return err
	}
	l.visitors = append(l.visitors, visitor)
	return s.steerVisitors()
}

// dismiss has it be a client as any other again. Where the filter cannot be set it stays so
// until it is set the next time.
func (l *Listener) dismiss(visitor netip.AddrPort) {
	s := l.of
	s.mu.Lock()
	defer s.mu.Unlock()
	before := len(l.visitors)
	l.visitors = slices.DeleteFunc(l.visitors, func(one netip.AddrPort) bool { return one == visitor })
	if len(l.visitors) < before && slices.Contains(s.alive, l) && !slices.ContainsFunc(s.alive, released) {
		_ = s.steerVisitors()
	}
}

// steerVisitors sets the filter anew at the first address, with the place where all others
// go that go there already.
func (s *Sockets) steerVisitors() error { return s.points[0].steer(s.group(0), s.place()) }
