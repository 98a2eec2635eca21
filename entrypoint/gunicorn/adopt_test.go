package gunicorn

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stablehand/stablehand/internal/proc"
)

// A master that has been told to go may do so while it is looked at. That is no error, which
// would keep the site down.
func TestWhatEndsWhileItIsLookedAtIsNoError(t *testing.T) {
	r := newReaper(t)
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	pidfile := filepath.Join(t.TempDir(), "pid")
	for range 200 {
		in, hold, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		p, err := r.Start([]string{program}, &syscall.ProcAttr{
			Env:   append(os.Environ(), idle+"=1"),
			Files: []uintptr{in.Fd(), 1, 2},
		})
		if err != nil {
			t.Fatal(err)
		}
		info, err := proc.Stat(p.PID())
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			time.Sleep(rand.N(300 * time.Microsecond))
			_ = p.Signal(unix.SIGKILL)
		}()
		if _, err := Adopt(r, pidfile, Identity{}, Kept{info.PID, info.Started}); err != nil {
			t.Errorf("%v, want what is left", err)
		}
		<-p.Done()
		in.Close()
		hold.Close()
	}
}
