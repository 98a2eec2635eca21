package watch

import (
	"context"
	"os"

	"github.com/fsnotify/fsnotify"
)

// mounting tells of mounts that come and go, by their mount points. inotify
// does not: but what is mounted takes the place of what had the name before, and
// so it is told as the events of these names.
type mounting struct {
	events chan fsnotify.Event
	known  map[mount]bool // of the table, when it was last looked at
}

// newMounting begins to tell, until ctx ends. Where the kernel does not say that
// its table has changed, there is nothing to tell.
func newMounting(ctx context.Context) *mounting {
	m := &mounting{events: make(chan fsnotify.Event), known: make(map[mount]bool)}
	m.news()
	table, err := os.Open(mountInfo)
	if err != nil {
		return m
	}
	context.AfterFunc(ctx, func() { table.Close() })
	go m.follow(ctx, table)
	return m
}

// follow ends when the table is closed. A change of it is an error that poll(2)
// reports, and a wake for who waits to read.
func (m *mounting) follow(ctx context.Context, table *os.File) {
	raw, err := table.SyscallConn()
	for err == nil {
		var points []string
		err = raw.Read(func(uintptr) bool {
			points = m.news()
			return len(points) > 0
		})
		for _, point := range points {
			select {
			case m.events <- fsnotify.Event{Name: point, Op: fsnotify.Create}:
			case <-ctx.Done():
				return
			}
		}
	}
}

// news lists the mount points at which the table is not what it was.
func (m *mounting) news() (points []string) {
	now := make(map[mount]bool)
	for _, one := range mounts() {
		one.root = "" // a rename on the host changes it
		now[one] = true
		if !m.known[one] {
			points = append(points, one.point)
		}
	}
	for one := range m.known {
		if !now[one] {
			points = append(points, one.point)
		}
	}
	m.known = now
	return points
}
