package sockets

import (
	"encoding/binary"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// A filter sees a packet from the end of its TCP header on, and all of it by offsets from
// the network header on: SKF_NET_OFF of linux/filter.h, which stands for a negative one.
const networkHeader = 1<<32 - 0x100000

// Where an IP header has what is asked for, in bytes. Our own SYNs have no options in it,
// and no headers more.
const (
	plainIPv4  = 0x45 // version 4, and a header of 5 words
	source4    = 12
	port4      = 20
	source6    = 8
	nextHeader = 6
	port6      = 40
)

// attach gives the group of a socket its filter: a place, but for clients of whose SYNs the
// filter says that they go to another one. It is all or nothing: each new connection is
// judged by the old one or by this.
func attach(s socket, program []unix.SockFilter) error {
	set := &unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	err := unix.SetsockoptSockFprog(s.fd, unix.SOL_SOCKET, unix.SO_ATTACH_REUSEPORT_CBPF, set)
	return os.NewSyscallError("setsockopt SO_ATTACH_REUSEPORT_CBPF", err)
}

// steerTo is the filter that has all come to a place.
func steerTo(place int) []unix.SockFilter { return []unix.SockFilter{say(place)} }

// steerGroup is the filter that has all come to a place in a group, but for the visitors of
// its sockets.
func steerGroup(group []socket, place int) (program []unix.SockFilter) {
	for at, s := range group {
		for _, visitor := range s.visitors {
			program = append(program, isFrom(visitor, at)...)
		}
	}
	return append(program, say(place))
}

// class are the bits of an instruction that say of what kind it is: BPF_CLASS of linux/bpf_common.h.
const class = 0x07

// isFrom has the filter come to its end with a place where a packet is from a client.
func isFrom(client netip.AddrPort, place int) []unix.SockFilter {
	var tests []unix.SockFilter // by twos: what is loaded, and what it is to be
	is := func(size uint16, offset int, want uint32) {
		tests = append(tests, unix.SockFilter{Code: unix.BPF_LD | unix.BPF_ABS | size, K: networkHeader + uint32(offset)},
			unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: want})
	}
	source := client.Addr().AsSlice()
	if client.Addr().Is4() {
		is(unix.BPF_B, 0, plainIPv4)
		is(unix.BPF_W, source4, binary.BigEndian.Uint32(source))
		is(unix.BPF_H, port4, uint32(client.Port()))
	} else {
		is(unix.BPF_B, nextHeader, unix.IPPROTO_TCP)
		for i := 0; i < len(source); i += 4 {
			is(unix.BPF_W, source6+i, binary.BigEndian.Uint32(source[i:]))
		}
		is(unix.BPF_H, port6, uint32(client.Port()))
		tests = append(isIPv6(), tests...)
	}
	for i := range tests {
		if tests[i].Code&class == unix.BPF_JMP {
			tests[i].Jf = uint8(len(tests) - i) // past the end of these, and of what they lead to
		}
	}
	return append(tests, say(place))
}

// isIPv6 asks for the version, of which the other half of its byte is none.
func isIPv6() []unix.SockFilter {
	return []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_ABS | unix.BPF_B, K: networkHeader},
		{Code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, K: 0xf0},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: 0x60},
	}
}

// say is the end of a filter: a place.
func say(place int) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: uint32(place)}
}
