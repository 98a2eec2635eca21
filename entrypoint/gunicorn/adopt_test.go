package gunicorn

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stablehand/stablehand/internal/proc"
)

// A master that has been told to go may do so while it is looked at, and be a zombie then
// where its parent is slow. That is no error, which would keep the site down.
func TestWhatEndsWhileItIsLookedAtIsNoError(t *testing.T) {
	byPidfile := func(pidfile string, pid int) (Kept, error) {
		return Kept{}, os.WriteFile(pidfile, []byte(strconv.Itoa(pid)), 0o600)
	}
	asKept := func(_ string, pid int) (Kept, error) {
		info, err := proc.Stat(pid)
		return Kept{pid, info.Started}, err
	}
	const zombie = "python3 /bin/gunicorn a:b <&3 & exec sleep 1000"
	const reaped = "python3 /bin/gunicorn a:b <&3 & wait"
	t.Run("by its pidfile, and is reaped", func(t *testing.T) { endsWhileLookedAt(t, reaped, false, byPidfile) })
	t.Run("by its pidfile, and is a zombie", func(t *testing.T) { endsWhileLookedAt(t, zombie, false, byPidfile) })
	t.Run("as it was kept, and is reaped", func(t *testing.T) { endsWhileLookedAt(t, reaped, false, asKept) })
	t.Run("as it was kept, and is a zombie", func(t *testing.T) { endsWhileLookedAt(t, zombie, false, asKept) })
	t.Run("the old one above it", func(t *testing.T) { endsWhileLookedAt(t, "GUNICORN_PID=$$ "+zombie, true, asKept) })
}

// endsWhileLookedAt has Adopt look at masters that a line of shell has started, as they are
// killed, or as the shell is.
func endsWhileLookedAt(t *testing.T, line string, shell bool, known func(pidfile string, pid int) (Kept, error)) {
	r := newReaper(t)
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	pidfile := filepath.Join(dir, "pid")
	if err := os.Symlink(program, filepath.Join(dir, "python3")); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	t.Setenv(idle, "1")
	in, hold, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer hold.Close()
	defer in.Close()
	own := Identity{Argv: []string{"gunicorn", "a:b"}}
	for range 100 {
		above, err := r.Start([]string{"sh", "-c", line}, &syscall.ProcAttr{
			Env:   os.Environ(),
			Files: []uintptr{0, 1, 2, in.Fd()},
		})
		if err != nil {
			t.Fatal(err)
		}
		pid := childThatRuns(t, above.PID())
		kept, err := known(pidfile, pid)
		if err != nil {
			t.Fatal(err)
		}
		ends := pid
		if shell {
			ends = above.PID()
		}
		go func() {
			time.Sleep(rand.N(500 * time.Microsecond))
			unix.Kill(ends, unix.SIGKILL)
		}()
		if _, err := Adopt(r, pidfile, own, kept); err != nil {
			t.Errorf("%v, want what is left", err)
		}
		unix.Kill(pid, unix.SIGKILL)
		_ = above.Signal(unix.SIGKILL)
		<-above.Done()
	}
}

// childThatRuns is the pid of the only child, once it runs gunicorn.
func childThatRuns(t *testing.T, parent int) int {
	t.Helper()
	for ctx := limited(t); ctx.Err() == nil; time.Sleep(time.Millisecond) {
		for _, child := range children(t, parent) {
			if is, err := runs(child); is && err == nil {
				return child
			}
		}
	}
	t.Fatal("it does not run gunicorn")
	return 0
}
