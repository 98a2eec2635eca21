package sockets

import (
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// begin takes all addresses, or begins with Listeners whose sockets others have.
func (s *Sockets) begin(left [][]uint64) error {
	if len(left) == 0 {
		return s.take()
	}
	if len(left) > most {
		return errTwo
	}
	for _, inodes := range left {
		l := &Listener{of: s, others: true}
		for i, p := range s.points {
			one, err := p.left(inodes[i])
			if err != nil {
				return err
			}
			l.sockets = append(l.sockets, one)
		}
		s.alive = append(s.alive, l)
	}
	return s.check()
}

// Left are the Listeners whose sockets others have, the oldest first. They are steered
// to like any other. To close one is for when who has its sockets has ended: they are
// not ours to end.
func (s *Sockets) Left() (left []*Listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.alive {
		if l.others {
			left = append(left, l)
		}
	}
	return left
}

// Listening are the inodes of the sockets that listen at each of some addresses, as far
// as they could be ours.
func Listening(addresses []Address) (inodes [][]uint64, err error) {
	for _, a := range addresses {
		there, unread := a.listening()
		inodes, err = append(inodes, there), errors.Join(err, unread)
	}
	return inodes, err
}

func (a Address) listening() (inodes []uint64, err error) {
	if a.path == "" {
		list, err := listening(a.tcp.Port())
		for _, one := range list {
			if one.Local == a.tcp {
				inodes = append(inodes, uint64(one.Inode))
			}
		}
		return inodes, err
	}
	list, err := unixListening()
	for _, one := range list {
		if slices.Contains(local{a}.names(), one.name) {
			inodes = append(inodes, one.inode)
		}
	}
	return inodes, err
}

// Inherit is for sockets that somebody else has opened, and may use further, as a
// service manager does: all Listeners share them, those that have been left over, too.
func Inherit(descriptors []int, left ...[]uint64) (*Sockets, error) {
	s := &Sockets{unsteered: errors.New("the sockets were opened by who started us")}
	for _, fd := range descriptors {
		one, err := socketOf(fd)
		if err != nil {
			return nil, fmt.Errorf("inherit the socket %d: %w", fd, err)
		}
		unix.CloseOnExec(fd)
		s.points = append(s.points, inherited{one})
	}
	return s, s.begin(left)
}

// Inherited are the inodes of such sockets, as Listening has those of others.
func Inherited(descriptors []int) (inodes [][]uint64, err error) {
	for _, fd := range descriptors {
		one, unread := socketOf(fd)
		inodes, err = append(inodes, []uint64{one.inode}), errors.Join(err, unread)
	}
	return inodes, err
}
