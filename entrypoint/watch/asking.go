package watch

import (
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// silence is how long a file system may take for one answer before it is said
// not to answer: longer than a busy disk or a distant server takes, and short
// beside the time that gunicorn needs to start.
const silence = 2 * time.Second

// allEntries is not the index of any.
const allEntries = -1

// asking is what a look asks a file system for at this moment. A call may never
// return, and can't be taken back: FUSE or NFS keep who asks waiting for their
// other side. So each is noted before it is made, for who must not wait.
type asking struct {
	mu    sync.Mutex
	of    int       // the entry that it is asked for; allEntries: not for one alone
	path  string    // what is asked for
	since time.Time // zero: nothing is
}

// ask makes a call that may wait for the file system of a path. It is made
// again where a signal has interrupted it: the Go runtime sends some.
func (a *asking) ask(path string, call func() error) error {
	a.note(path, time.Now())
	err := call()
	for err == unix.EINTR {
		err = call()
	}
	a.note("", time.Time{})
	return err
}

func (a *asking) note(path string, since time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.path, a.since = path, since
}

// on says for which entry it is asked from now on.
func (a *asking) on(entry int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.of = entry
}

// waitsFor is the path whose file system has not answered yet; empty: none.
func (a *asking) waitsFor() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.path
}
