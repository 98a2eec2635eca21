package sockets

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
)

// most is how many Listeners there may be: see the package's comment.
const most = 2

// Sockets are those that listen at some addresses. Its methods, and those of its
// Listeners, may be called from any goroutine; none waits for anybody.
type Sockets struct {
	points    []point // one for each address, in their order
	unsteered error

	mu      sync.Mutex
	taken   []socket    // one for each point, for the first Listener that comes; or none
	alive   []*Listener // by age: where each is in this, it is in its groups
	steered *Listener   // nil before the first Steer, and once it is closed
	closed  bool
}

// point is an address, and how a group of sockets comes to listen there.
type point interface {
	take() (socket, error)                 // has the address for nobody else to come there
	left(inode uint64) (socket, error)     // is a socket there that others have
	open(first socket) error               // has what was taken listen
	join(present socket) (socket, error)   // has another one listen that nobody comes to yet
	check(group []socket) error            // is why nobody can be steered there
	steer(group []socket, place int) error // has new connections go to one of the group
	end(s socket) error                    // has one listen no more, whoever else has it open
	leave(s socket) error                  // has it open no more
	forget(s socket) error                 // leaves nothing of one that was left to others
	connections() ([]uint64, error)        // the inodes of those that were accepted there
	handshakes() []netip.AddrPort          // those that are under way there, by their clients

	dial(context.Context, *Listener) (net.Conn, error) // see Listener.Dial
	release() error                                    // leaves nothing behind, once all have ended
}

var (
	errClosed = fmt.Errorf("listen: %w", net.ErrClosed)
	errTwo    = errors.New("listen: two generations have sockets already")
)

// Open takes addresses, for nobody else to have. The error is an [*InUseError] where
// somebody has one. Nothing listens before the first [Sockets.Add].
//
// Sockets may have been left over there, opened by a process like ours that has ended
// since, and that others have: by generation, the oldest first, and the inode of one for
// each address. They are those of Listeners, see [Sockets.Left].
func Open(addresses []Address, left ...[]uint64) (*Sockets, error) {
	return open(addresses, steers(), left...)
}

// open is told why the kernel does not steer TCP connections, if it does not.
func open(addresses []Address, unable error, left ...[]uint64) (*Sockets, error) {
	s := new(Sockets)
	for i, a := range addresses {
		if j := slices.IndexFunc(addresses[:i], a.overlaps); j >= 0 {
			return nil, fmt.Errorf("listen at %v: it is part of %v, or the other way round", a, addresses[j])
		}
		switch {
		case a.path != "":
			s.points = append(s.points, local{a})
		case unable != nil:
			s.unsteered = unable
			s.points = append(s.points, &shared{tcp: tcp{a}})
		default:
			s.points = append(s.points, tcp{a})
		}
	}
	if err := s.begin(left); err != nil {
		return nil, errors.Join(err, s.release())
	}
	return s, nil
}

// Unsteered is why Listeners share TCP sockets, or all, so that to steer does nothing
// there; nil where each has its own.
func (s *Sockets) Unsteered() error { return s.unsteered }

// Add has a socket for each address listen, for a new [Listener]. Nobody is steered to
// it before [Sockets.Steer]; but where it is the only one, all come to it.
//
// There are two at the most.
func (s *Sockets) Add() (*Listener, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var sockets []socket
	var err error
	switch {
	case s.closed, slices.ContainsFunc(s.alive, released):
		err = errClosed
	case len(s.alive) == most:
		err = errTwo
	case len(s.alive) == 0:
		sockets, err = s.open()
	default:
		sockets, err = s.join()
	}
	if err != nil {
		return nil, err
	}
	l := &Listener{of: s, sockets: sockets}
	s.alive = append(s.alive, l)
	return l, nil
}

// take takes all addresses, or none.
func (s *Sockets) take() error {
	for _, p := range s.points {
		one, err := p.take()
		if err != nil {
			return errors.Join(err, s.endTaken())
		}
		s.taken = append(s.taken, one)
	}
	return nil
}

func (s *Sockets) endTaken() error {
	err := s.end(s.taken)
	s.taken = nil
	return err
}

// open has the first sockets listen. Where all others have been closed they are new.
func (s *Sockets) open() ([]socket, error) {
	if s.taken == nil {
		if err := s.take(); err != nil {
			return nil, err
		}
	}
	for i, p := range s.points {
		if err := p.open(s.taken[i]); err != nil {
			return nil, errors.Join(err, s.endTaken())
		}
	}
	first := s.taken
	s.taken = nil
	return first, nil
}

// join has sockets listen beside those that are there.
func (s *Sockets) join() (joined []socket, err error) {
	for i, p := range s.points {
		one, err := p.join(s.group(i)[0])
		if err != nil {
			return nil, errors.Join(err, s.end(joined))
		}
		joined = append(joined, one)
	}
	return joined, nil
}

// Steer has new connections go to a Listener, at every address. Where it returns an
// error they go where they went before: where others listen, too, it is an [*InUseError].
func (s *Sockets) Steer(l *Listener) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Contains(s.alive, l) || slices.ContainsFunc(s.alive, released) {
		return errClosed
	}
	if err := s.check(); err != nil {
		return err
	}
	return s.steer(l)
}

// check is why nobody can be steered now.
func (s *Sockets) check() error {
	for i, p := range s.points {
		if err := p.check(s.group(i)); err != nil {
			return err
		}
	}
	return nil
}

// SteerFrom is [Sockets.Steer] to the other Listener, where there is one.
func (s *Sockets) SteerFrom(l *Listener) error {
	s.mu.Lock()
	at := slices.Index(s.alive, l)
	var other *Listener
	if at >= 0 && len(s.alive) == most {
		other = s.alive[most-1-at]
	}
	s.mu.Unlock()
	if other == nil {
		return nil
	}
	return s.Steer(other)
}

// steer goes back to where it was if it fails halfway.
func (s *Sockets) steer(l *Listener) error {
	before := s.place()
	for i, p := range s.points {
		err := p.steer(s.group(i), slices.Index(s.alive, l))
		if err == nil {
			continue
		}
		for j, p := range s.points[:i] {
			err = errors.Join(err, p.steer(s.group(j), before))
		}
		return err
	}
	if s.steered != nil && s.steered != l {
		s.steered.begun = s.handshakes()
	}
	s.steered = l
	return nil
}

// place is where new connections go, in each group: before the first time to the oldest.
func (s *Sockets) place() int { return max(slices.Index(s.alive, s.steered), 0) }

// group is the sockets at an address.
func (s *Sockets) group(point int) []socket {
	var group []socket
	for _, l := range s.alive {
		one := l.sockets[point]
		if point == 0 {
			one.visitors = l.visitors
		}
		group = append(group, one)
	}
	return group
}

// end ends the sockets of a Listener, or the first of them.
func (s *Sockets) end(sockets []socket) (err error) {
	for i, one := range sockets {
		err = errors.Join(err, s.points[i].end(one))
	}
	return err
}

// Close closes all Listeners, and leaves nothing of ours in the file system. What others
// have from before stays as it is, unless it was released: they serve by it.
func (s *Sockets) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	err := s.endTaken()
	for _, l := range s.alive {
		if !l.others || l.left {
			err = errors.Join(err, l.end())
		}
	}
	s.alive, s.steered = nil, nil
	return errors.Join(err, s.release())
}

func (s *Sockets) release() (err error) {
	for _, p := range s.points {
		err = errors.Join(err, p.release())
	}
	return err
}
