// Package pipes makes pipes for tests as processes inherit them: who writes to a
// full one is held up in the kernel, where Go's own are polled.
package pipes

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// New makes a pipe that is closed when the test ends. The flags are pipe2's.
func New(t testing.TB, flags int) (r, w *os.File) {
	t.Helper()
	var ends [2]int
	if err := unix.Pipe2(ends[:], flags|unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	r, w = os.NewFile(uintptr(ends[0]), "reader"), os.NewFile(uintptr(ends[1]), "writer")
	t.Cleanup(func() {
		r.Close()
		w.Close()
	})
	return r, w
}
