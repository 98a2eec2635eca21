package sockets

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

const (
	// maxPath is how long a socket's path may be, in bytes: sun_path of unix(7) has 108,
	// with the 0 at its end, and each socket has a name of its own beside it.
	maxPath = 107 - len(".1")

	// resolveIn is how long a name may take to be resolved: as long as a resolver tries two servers.
	resolveIn = 10 * time.Second
)

// Address is where to listen.
type Address struct {
	text string
	tcp  netip.AddrPort
	path string // of a unix socket; empty for TCP
}

// String is the address as it was written.
func (a Address) String() string { return a.text }

// ParseAddress reads host:port, :port (which is 0.0.0.0:port), [::]:port (which takes
// IPv4, too) or unix:/path. Of a name's addresses it is the first, and an IPv4 one
// before others, as gunicorn has it.
func ParseAddress(text string) (Address, error) {
	a := Address{text: text}
	var err error
	if path, ok := strings.CutPrefix(text, "unix:"); ok {
		a.path, err = parsePath(path)
	} else {
		a.tcp, err = parseTCP(text)
	}
	if err != nil {
		return Address{}, fmt.Errorf("%q %w", text, err)
	}
	return a, nil
}

func parsePath(path string) (string, error) {
	if rest, ok := strings.CutPrefix(path, "//"); ok { // as gunicorn reads it
		path = rest
	}
	switch {
	case !strings.HasPrefix(path, "/"):
		return "", errors.New("does not name an absolute path, as unix:/run/app.sock does")
	case strings.HasSuffix(path, "/"):
		return "", errors.New("names a directory")
	case strings.ContainsRune(path, 0):
		return "", errors.New("has a byte 0 in it")
	case len(path) > maxPath:
		return "", fmt.Errorf("names a path of %d bytes, where a socket's may have %d", len(path), maxPath)
	}
	return path, nil
}

func parseTCP(text string) (netip.AddrPort, error) {
	host, service, err := net.SplitHostPort(text)
	if err != nil {
		if strings.Count(text, ":") > 1 && !strings.Contains(text, "/") {
			return netip.AddrPort{}, errors.New("is no [host]:port: an IPv6 address stands in brackets")
		}
		return netip.AddrPort{}, errors.New("is neither host:port nor unix:/path")
	}
	port, err := strconv.ParseUint(service, 10, 16)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("has %q for a port, which is a number from 1 to 65535", service)
	}
	if port == 0 {
		return netip.AddrPort{}, errors.New("has port 0, a random one, which no two sockets can share")
	}
	ip, err := parseHost(host)
	return netip.AddrPortFrom(ip, uint16(port)), err
}

func parseHost(host string) (netip.Addr, error) {
	if host == "" {
		return netip.IPv4Unspecified(), nil
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		if ip.Zone() != "" {
			return netip.Addr{}, errors.New("has a zone, which is not supported")
		}
		return ip.Unmap(), nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), resolveIn)
	defer cancel()
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil || len(found) == 0 {
		return netip.Addr{}, fmt.Errorf("has a host of which no address is found: %w", err)
	}
	for _, ip := range found {
		if ip = ip.Unmap(); ip.Is4() {
			return ip, nil
		}
	}
	return found[0].WithZone(""), nil
}

// overlaps says whether two addresses cannot be had by two.
func (a Address) overlaps(b Address) bool {
	if a.path != "" || b.path != "" {
		return a.path == b.path
	}
	return overlap(a.tcp, b.tcp)
}

// overlap takes [::] for all there is, IPv4 as well.
func overlap(a, b netip.AddrPort) bool {
	all := func(one, other netip.Addr) bool {
		return one.IsUnspecified() && (one.Is6() || other.Is4())
	}
	return a.Port() == b.Port() && (a.Addr() == b.Addr() || all(a.Addr(), b.Addr()) || all(b.Addr(), a.Addr()))
}
