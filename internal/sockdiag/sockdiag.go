// Package sockdiag asks the kernel for sockets, by sock_diag(7): for those in some
// states, where the process table's own lists, /proc/net/tcp and the like, tell of each
// connection that has ended lately, too. These take seconds where there have been many.
//
// It sees what is in our network namespace. Where there is no sock_diag, as in gVisor,
// the error is the kernel's.
package sockdiag

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// What linux/sock_diag.h, linux/inet_diag.h and linux/unix_diag.h have, and
// golang.org/x/sys/unix has not.
const (
	sockDiagByFamily = 20
	inetRequestSize  = 56 // struct inet_diag_req_v2
	inetAnswerSize   = 72 // struct inet_diag_msg
	unixAnswerSize   = 16 // struct unix_diag_msg, before its attributes

	udiagShowPeer  = 0x04      // UDIAG_SHOW_PEER
	udiagShowQueue = 0x10      // UDIAG_SHOW_RQLEN
	unixDiagPeer   = 2         // UNIX_DIAG_PEER
	unixDiagQueue  = 4         // UNIX_DIAG_RQLEN
	noCookie       = 1<<64 - 1 // INET_DIAG_NOCOOKIE, twice
)

// State is that of a TCP connection: net/tcp_states.h in the kernel.
type State uint8

// Listening is that of a socket that listens.
const Listening State = 10

// TCP is a connection, or a socket that listens.
type TCP struct {
	State         State
	Local, Remote netip.AddrPort
	Inode         uint32 // 0 where nobody has a descriptor of it
	Queue         uint32 // of one that listens: how many wait to be accepted
}

// order is that of the fields but for ports and addresses.
var order = binary.NativeEndian

// ListTCP lists those of address families, unix.AF_INET or AF_INET6, that are in one of
// these states, and those with a port of ours where that is not 0. Unless only those that
// listen are asked for the kernel goes through all connections there are.
func ListTCP(families []byte, port uint16, states ...State) (list []TCP, err error) {
	asked := uint32(0)
	for _, state := range states {
		asked |= 1 << state
	}
	for _, family := range families {
		request := []byte{family, unix.IPPROTO_TCP, 0, 0}
		request = order.AppendUint32(request, asked)
		request = binary.BigEndian.AppendUint16(request, port)
		request = append(request, make([]byte, inetRequestSize-len(request))...)
		unread := ask(request, unix.NLM_F_DUMP, func(b []byte) {
			if len(b) >= inetAnswerSize {
				list = append(list, TCP{State(b[1]), endOf(b[0], b[8:], b[4:]), endOf(b[0], b[24:], b[6:]), order.Uint32(b[68:]), order.Uint32(b[56:])})
			}
		})
		err = errors.Join(err, unread)
	}
	return list, err
}

// ErrGone is the error of a connection that is there no more.
var ErrGone = errors.New("sock_diag: there is no such connection")

// AcceptedTCP is the inode of a connection's end at who listens: 0 until it has been
// accepted, and ErrGone where there is no such connection.
func AcceptedTCP(listening, client netip.AddrPort) (inode uint32, err error) {
	family := byte(unix.AF_INET)
	if listening.Addr().Is6() {
		family = unix.AF_INET6
	}
	request := []byte{family, unix.IPPROTO_TCP, 0, 0}
	request = order.AppendUint32(request, 1<<32-1) // in any state
	request = binary.BigEndian.AppendUint16(request, listening.Port())
	request = binary.BigEndian.AppendUint16(request, client.Port())
	for _, end := range []netip.AddrPort{listening, client} {
		request = append(request, end.Addr().AsSlice()...)
		request = append(request, make([]byte, 16-end.Addr().BitLen()/8)...)
	}
	request = order.AppendUint32(request, 0) // at any interface
	request = order.AppendUint64(request, noCookie)
	err = ErrGone // the kernel may tell of who listens instead
	unread := ask(request, 0, func(b []byte) {
		if len(b) >= inetAnswerSize && State(b[1]) != Listening {
			inode, err = order.Uint32(b[68:]), nil
		}
	})
	if unread != nil && !errors.Is(unread, unix.ENOENT) {
		return 0, unread
	}
	return inode, err
}

// AcceptedUnix is the inode of the other end of a client's unix socket: 0 until it has been
// accepted, and again when that is closed, and ErrGone where it was never connected.
func AcceptedUnix(client uint32) (inode uint32, err error) {
	err = ErrGone
	unread := askUnix(client, udiagShowPeer, func(attribute uint16, value []byte) {
		if attribute == unixDiagPeer && len(value) >= 4 {
			inode, err = order.Uint32(value), nil
		}
	})
	if unread != nil { // unix.ENOENT where the kernel tells nothing of unix sockets
		return 0, unread
	}
	return inode, err
}

// UnixQueue is how many wait to be accepted at a unix socket that listens; of another
// one it is bytes that wait to be read.
func UnixQueue(inode uint32) (waiting int, err error) {
	err = fmt.Errorf("sock_diag: no queue of the unix socket %d is told", inode)
	unread := askUnix(inode, udiagShowQueue, func(attribute uint16, value []byte) {
		if attribute == unixDiagQueue && len(value) >= 8 { // two numbers, of which the first is what has been received
			waiting, err = int(order.Uint32(value)), nil
		}
	})
	if unread != nil {
		return 0, unread
	}
	return waiting, err
}

// askUnix asks for something of a unix socket, and hands on each attribute of the answer.
func askUnix(inode, show uint32, each func(attribute uint16, value []byte)) error {
	request := []byte{unix.AF_UNIX, 0, 0, 0}
	request = order.AppendUint32(request, 1<<32-1) // in any state
	request = order.AppendUint32(request, inode)
	request = order.AppendUint32(request, show)
	request = order.AppendUint64(request, noCookie)
	return ask(request, 0, func(b []byte) {
		for b = b[min(len(b), unixAnswerSize):]; len(b) >= unix.SizeofNlAttr; {
			size := int(order.Uint16(b))
			if size < unix.SizeofNlAttr || size > len(b) {
				return
			}
			each(order.Uint16(b[2:]), b[unix.SizeofNlAttr:size])
			b = b[min(len(b), (size+3)&^3):]
		}
	})
}

// endOf is one end of a connection.
func endOf(family byte, address, port []byte) netip.AddrPort {
	size := 16
	if family == unix.AF_INET {
		size = 4
	}
	ip, _ := netip.AddrFromSlice(address[:size])
	return netip.AddrPortFrom(ip.Unmap(), binary.BigEndian.Uint16(port))
}

// ask asks the kernel, and hands on the body of each answer.
func ask(request []byte, flags uint16, each func(body []byte)) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, unix.NETLINK_INET_DIAG)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	message := order.AppendUint32(nil, uint32(unix.SizeofNlMsghdr+len(request)))
	message = order.AppendUint16(message, sockDiagByFamily)
	message = order.AppendUint16(message, unix.NLM_F_REQUEST|flags)
	message = append(append(message, make([]byte, unix.SizeofNlMsghdr-len(message))...), request...)
	if err := unix.Sendto(fd, message, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return os.NewSyscallError("sendto", err)
	}
	for answers := make([]byte, 64<<10); ; {
		n, _, err := unix.Recvfrom(fd, answers, 0) // the kernel's answer is there: nobody is waited for
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return os.NewSyscallError("recvfrom", err)
		}
		for b := answers[:n]; len(b) >= unix.SizeofNlMsghdr; {
			size := int(order.Uint32(b))
			if size < unix.SizeofNlMsghdr || size > len(b) {
				return fmt.Errorf("sock_diag: an answer of %d bytes in %d", size, len(b))
			}
			switch body := b[unix.SizeofNlMsghdr:size]; order.Uint16(b[4:]) {
			case unix.NLMSG_DONE:
				return nil
			case unix.NLMSG_ERROR:
				return fmt.Errorf("sock_diag: %w", unix.Errno(-int32(order.Uint32(body))))
			default:
				each(body)
			}
			b = b[min(len(b), (size+3)&^3):]
		}
		if flags&unix.NLM_F_DUMP == 0 {
			return nil
		}
	}
}
