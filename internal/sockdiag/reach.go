package sockdiag

import (
	"errors"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Reach is where somebody on this machine reaches who listens at an address: one after the
// other, since there may be no IPv6. A wildcard is reached over loopback.
func Reach(a netip.AddrPort) []netip.AddrPort {
	at := func(ip netip.Addr) netip.AddrPort { return netip.AddrPortFrom(ip, a.Port()) }
	switch v4 := netip.AddrFrom4([4]byte{127, 0, 0, 1}); a.Addr() {
	case netip.IPv4Unspecified():
		return []netip.AddrPort{at(v4)}
	case netip.IPv6Unspecified():
		return []netip.AddrPort{at(netip.IPv6Loopback()), at(v4)}
	}
	return []netip.AddrPort{a}
}

// Unreachable says whether an error means that this machine has not the address that was
// to be connected to, or from, or that nobody listens there.
func Unreachable(err error) bool {
	for _, errno := range []error{unix.EADDRNOTAVAIL, unix.ENETUNREACH, unix.EAFNOSUPPORT, unix.ECONNREFUSED} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}
