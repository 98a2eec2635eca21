package sockets

import (
	"errors"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/stablehand/stablehand/internal/sockdiag"
)

// The states of connections that matter: net/tcp_states.h in the kernel. A client that
// has sent all that it has to say (closeWait) may wait for its answer still.
const (
	established sockdiag.State = 1
	synReceived sockdiag.State = 3
	closeWait   sockdiag.State = 8
)

// Connections are the inodes of connections of clients that have been accepted at our
// addresses, whoever holds them. Of sockets that somebody else has opened none is known.
func (s *Sockets) Connections() (inodes []uint64, err error) {
	for _, p := range s.points {
		more, unread := p.connections()
		inodes, err = append(inodes, more...), errors.Join(err, unread)
	}
	return inodes, err
}

// handshakes are those that are under way at all addresses, by their clients.
func (s *Sockets) handshakes() (all []netip.AddrPort) {
	for _, p := range s.points {
		all = append(all, p.handshakes()...)
	}
	return all
}

func (t tcp) connections() (inodes []uint64, err error) {
	list, err := sockdiag.ListTCP(families, t.address.tcp.Port(), established, closeWait)
	for _, one := range list {
		if one.Inode != 0 {
			inodes = append(inodes, uint64(one.Inode))
		}
	}
	return inodes, err
}

// handshakes are none where they cannot be listed.
func (t tcp) handshakes() (clients []netip.AddrPort) {
	list, _ := sockdiag.ListTCP(families, t.address.tcp.Port(), synReceived)
	for _, one := range list {
		clients = append(clients, one.Remote)
	}
	return clients
}

var families = []byte{unix.AF_INET, unix.AF_INET6}

// connections are those in the list of unix(7) that have the name of a socket of ours,
// as what has been accepted there has.
func (p local) connections() (inodes []uint64, err error) {
	const connected = "03" // SS_CONNECTED
	b, err := os.ReadFile("/proc/net/unix")
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) != 8 || f[5] != connected || !slices.Contains(names[:], strings.TrimPrefix(f[7], p.address.path)) {
			continue
		}
		if inode, _ := strconv.ParseUint(f[6], 10, 64); inode != 0 { // else nobody has accepted it
			inodes = append(inodes, inode)
		}
	}
	return inodes, err
}

func (p local) handshakes() []netip.AddrPort { return nil }

func (p inherited) connections() ([]uint64, error) { return nil, nil }

func (p inherited) handshakes() []netip.AddrPort { return nil }
