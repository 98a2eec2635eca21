package control

import (
	"net"
	"net/http"
	"sync"
	"time"
)

// crowd keeps the connections of one listener few: each takes a descriptor and
// some memory, which are gunicorn's in the end. Beyond the limit one goes for
// each that comes: the one that has been idle longest. So who connects and asks
// nothing only hurts others who do so, and a probe is answered all the while.
type crowd struct {
	limit int
	mu    sync.Mutex
	conns map[net.Conn]standing
}

// standing is what a connection does, and since when.
type standing struct {
	does  doing
	since time.Time
}

// doing is what a connection does: the less it does the sooner it goes.
type doing int

const (
	idle     doing = iota // nothing, or nothing yet
	asking                // it has begun a request, which may never be whole
	answered              // a whole request is under way
)

func newCrowd(limit int) *crowd {
	return &crowd{limit: limit, conns: map[net.Conn]standing{}}
}

// note is a server's ConnState.
func (c *crowd) note(conn net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		if one := c.enter(conn); one != nil {
			one.Close()
		}
	case http.StateActive:
		c.set(conn, asking)
	case http.StateIdle:
		c.set(conn, idle)
	case http.StateClosed, http.StateHijacked:
		c.leave(conn)
	}
}

// enter adds a connection, and returns the one that is to go for it, if any.
func (c *crowd) enter(conn net.Conn) (goes net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.conns) >= c.limit {
		goes = c.first()
		delete(c.conns, goes)
	}
	c.conns[conn] = standing{idle, time.Now()}
	return goes
}

// first is the connection that is to go first.
func (c *crowd) first() (goes net.Conn) {
	var least standing
	for conn, s := range c.conns {
		if goes == nil || s.does < least.does || s.does == least.does && s.since.Before(least.since) {
			goes, least = conn, s
		}
	}
	return goes
}

// set notes what a connection does from now on. One that was told to go is not
// counted any more.
func (c *crowd) set(conn net.Conn, does doing) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, in := c.conns[conn]; in {
		c.conns[conn] = standing{does, time.Now()}
	}
}

func (c *crowd) leave(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.conns, conn)
}

// heard notes that a request is whole, as far as it has to be.
func (c *crowd) heard(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if conn, ok := r.Context().Value(keyConn{}).(net.Conn); ok {
			c.set(conn, answered)
		}
		h.ServeHTTP(w, r)
	})
}
