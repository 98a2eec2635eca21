package sockets

import (
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/stablehand/stablehand/internal/proc"
	"github.com/stablehand/stablehand/internal/sockdiag"
)

// InUseError is that somebody else has an address.
type InUseError struct {
	Address Address
	PID     int    // of a process that has it; 0 where that cannot be told
	Program string // of that process
}

func (e *InUseError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("%v is in use, by whom cannot be told", e.Address)
	}
	return fmt.Sprintf("%v is in use by %s (pid %d)", e.Address, e.Program, e.PID)
}

// Unwrap is the kernel's error of it.
func (e *InUseError) Unwrap() error { return unix.EADDRINUSE }

// inUse tells who has an address that the kernel says is in use: who listens there.
func inUse(a Address) error {
	list, _ := listening(a.tcp.Port())
	for _, one := range list {
		if overlap(one.Local, a.tcp) {
			return usedBy(a, uint64(one.Inode))
		}
	}
	return &InUseError{Address: a}
}

// usedBy tells of an address that a socket has.
func usedBy(a Address, inode uint64) error {
	pid := holder(inode)
	return &InUseError{Address: a, PID: pid, Program: program(pid)}
}

// holder is the process with the lowest pid of those that have a socket open and that
// we may look at, which is a master rather than its workers; 0 where there is none.
func holder(inode uint64) int {
	pids, _ := proc.All()
	slices.Sort(pids)
	target := target(inode)
	for _, pid := range pids {
		descriptors, _ := proc.Descriptors(pid)
		if slices.ContainsFunc(descriptors, func(d proc.Descriptor) bool { return d.Target == target }) {
			return pid
		}
	}
	return 0
}

func target(inode uint64) string { return fmt.Sprintf("socket:[%d]", inode) }

func program(pid int) string {
	if pid == 0 {
		return ""
	}
	name, err := proc.Status(pid, "Name")
	if err != nil {
		return "a program"
	}
	return name
}

// listening asks the kernel who listens at a port.
func listening(port uint16) ([]sockdiag.TCP, error) {
	return sockdiag.ListTCP([]byte{unix.AF_INET, unix.AF_INET6}, port, sockdiag.Listening)
}

// strangers is the error of those that listen at an address beside our own sockets,
// and of our own that do not listen. Who has others of them may have closed them, see
// the package's comment.
func strangers(a Address, ours []socket) error {
	list, err := listening(a.tcp.Port())
	if err != nil {
		return fmt.Errorf("who listens at %v is not known: %w", a, err)
	}
	there := make(map[uint64]bool)
	for _, one := range list {
		there[uint64(one.Inode)] = one.Local == a.tcp
	}
	for _, s := range ours {
		if !there[s.inode] && s.ours() {
			return fmt.Errorf("a socket of ours does not listen at %v any more", a)
		}
		delete(there, s.inode)
	}
	for inode, here := range there {
		if here {
			return usedBy(a, inode)
		}
	}
	return nil
}
