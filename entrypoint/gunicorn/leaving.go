package gunicorn

import (
	"slices"
	"strings"
	"time"

	"github.com/stablehand/stablehand/internal/proc"
)

// listens says whether a master accepts connections still: one that has been told
// to go closes its sockets first. One that may not be looked at does.
func (m *Master) listens() bool {
	yes, err := proc.Listens(m.PID())
	return yes || err != nil
}

// Leaving says whether a master has been told to go: it has closed its sockets, and
// either sleeps between two looks at its workers, which finish, where one that has no
// sockets for other reasons (reuse_port) mostly waits for signals; or it has none any
// more, and is at its own end. It takes some looks, and says no where none may be had.
// While the master runs, or waits for a processor, a look tells nothing.
func (m *Master) Leaving() bool {
	const enough, limit = 10, 3 * time.Second
	if m.listens() {
		return false
	}
	looks, asleep, spent := 0, 0, 0
	for begun := time.Now(); looks < enough && time.Since(begun) < limit; time.Sleep(lookEvery) {
		if m.Spent() || m.Dead() {
			spent++
		} else if !m.waits() {
			continue
		}
		looks++
		if where, err := proc.WaitsIn(m.PID()); err == nil && strings.Contains(where, "nanosleep") {
			asleep++
		}
	}
	return asleep > looks/2 || spent > looks/2
}

// Spent says whether a master that has been told to go holds nothing any more that it
// could finish: no worker, no socket on which it listens, and no child but a successor.
func (m *Master) Spent() bool {
	beats, err := heartbeats(m.PID())
	if err != nil || len(beats) > 0 || m.listens() {
		return false
	}
	children, err := proc.Children(m.PID())
	next := m.next.Load()
	return err == nil && !slices.ContainsFunc(children, func(pid int) bool { return next == nil || pid != next.PID() })
}
