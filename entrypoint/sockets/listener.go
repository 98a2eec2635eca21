package sockets

import (
	"errors"
	"net/netip"
	"slices"
)

// Listener is the sockets of a generation, one for each address.
type Listener struct {
	of      *Sockets
	sockets []socket
	others  bool             // have its sockets, from before: see Left
	left    bool             // see Release
	begun   []netip.AddrPort // handshakes that were under way when others were steered elsewhere

	visitors []netip.AddrPort // clients that come to its first socket wherever others are steered, see Dial
}

// Descriptors are those of its sockets, in the order of the addresses: to be handed to
// a child, which does not inherit them by itself.
func (l *Listener) Descriptors() []int {
	var descriptors []int
	for _, s := range l.sockets {
		if s.ours() {
			descriptors = append(descriptors, s.fd)
		}
	}
	return descriptors
}

// Inodes are those of its sockets, as they stand in /proc/PID/fd: socket:[INODE].
func (l *Listener) Inodes() []uint64 {
	var inodes []uint64
	for _, s := range l.sockets {
		inodes = append(inodes, s.inode)
	}
	return inodes
}

// Waiting is how many connections nobody has accepted yet, with the handshakes that were
// under way when new connections began to go elsewhere, and are so still: some of these
// may be the other Listener's, for an instant.
func (l *Listener) Waiting() (int, error) {
	l.of.mu.Lock()
	defer l.of.mu.Unlock()
	if l.left || !slices.Contains(l.of.alive, l) {
		return 0, errClosed
	}
	all := 0
	for _, s := range l.sockets {
		n, err := s.waiting()
		if err != nil {
			return 0, err
		}
		all += n
	}
	if len(l.begun) > 0 {
		now := l.of.handshakes()
		l.begun = slices.DeleteFunc(l.begun, func(client netip.AddrPort) bool { return !slices.Contains(now, client) })
	}
	return all + len(l.begun), nil
}

// Close has its sockets listen no more, whoever else has them open. What waits there is
// reset, and so is a handshake that is under way: so give it a moment after a steer. Where
// new connections went to it they go to the other Listener, if there is one. Of sockets
// that are shared nothing is closed.
//
// Who still has such a socket open is not told but by poll(2), which says POLLHUP, and
// could have it listen again: let that be a process that has ended, or is about to.
func (l *Listener) Close() error {
	s := l.of
	s.mu.Lock()
	defer s.mu.Unlock()
	at := slices.Index(s.alive, l)
	if at < 0 {
		return nil
	}
	var unsteered error
	if s.steered == l {
		s.steered = nil
		if len(s.alive) == most && !s.alive[most-1-at].left {
			unsteered = s.steer(s.alive[most-1-at])
		}
	}
	s.alive = slices.Delete(s.alive, at, at+1)
	return errors.Join(unsteered, l.end())
}

// end ends its sockets, or leaves nothing of those that others are to end.
func (l *Listener) end() (err error) {
	if !l.left {
		return l.of.end(l.sockets)
	}
	for i, p := range l.of.points {
		err = errors.Join(err, p.forget(l.sockets[i]))
	}
	return err
}

// released says whether a Listener is others' to end.
func released(l *Listener) bool { return l.left }

// Release has its sockets listen for as long as anybody else has them open. Nobody is
// steered any more after that.
func (l *Listener) Release() (err error) {
	l.of.mu.Lock()
	defer l.of.mu.Unlock()
	if l.left || !slices.Contains(l.of.alive, l) {
		return nil
	}
	l.left = true
	for i, p := range l.of.points {
		err = errors.Join(err, p.leave(l.sockets[i]))
	}
	return err
}
