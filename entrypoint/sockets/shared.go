package sockets

import (
	"errors"

	"golang.org/x/sys/unix"
)

// shared is a TCP address with one socket for all Listeners, where the kernel does not
// steer. It is there until all is closed.
type shared struct {
	tcp
	one socket
	is  bool // taken
}

func (p *shared) take() (socket, error) {
	if p.is {
		return p.one, nil
	}
	one, err := p.tcp.take()
	p.one, p.is = one, err == nil
	return one, err
}

func (p *shared) open(first socket) error {
	return errors.Join(first.set(option{unix.SOL_SOCKET, unix.SO_REUSEADDR, 1}), first.listen())
}

func (p *shared) left(uint64) (socket, error)         { return socket{}, inUse(p.address) }
func (p *shared) join(present socket) (socket, error) { return present, nil }
func (p *shared) check([]socket) error                { return nil }
func (p *shared) steer([]socket, int) error           { return nil }
func (p *shared) end(socket) error                    { return nil }
func (p *shared) leave(socket) error                  { return nil }

func (p *shared) release() error {
	if !p.is {
		return nil
	}
	p.is = false
	return p.one.end()
}

// inherited is a socket that somebody else has opened, and may have open, too.
type inherited struct{ one socket }

func (p inherited) take() (socket, error)       { return p.one, nil }
func (p inherited) open(socket) error           { return nil }
func (p inherited) left(uint64) (socket, error) { return p.one, nil }
func (p inherited) join(socket) (socket, error) { return p.one, nil }
func (p inherited) check([]socket) error        { return nil }
func (p inherited) steer([]socket, int) error   { return nil }
func (p inherited) end(socket) error            { return nil }
func (p inherited) leave(socket) error          { return nil }
func (p inherited) forget(socket) error         { return nil }
func (p inherited) release() error              { return p.one.close() }
