package gunicorn

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stablehand/stablehand/internal/proc"
)

// awaitStrays looks until there are so many.
func awaitStrays(t *testing.T, want int, known ...*Master) []Stray {
	t.Helper()
	for end := time.Now().Add(deadline); ; time.Sleep(lookEvery) {
		found, err := Strays(known)
		if err != nil {
			t.Fatal(err)
		}
		if len(found) == want {
			return found
		}
		if time.Now().After(end) {
			t.Fatalf("%+v, want %d", found, want)
		}
	}
}

// neverStrays looks for a while, and finds none.
func neverStrays(t *testing.T, known ...*Master) {
	t.Helper()
	for end := time.Now().Add(2 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if found, err := Strays(known); err != nil || len(found) > 0 {
			t.Fatalf("%+v, %v, want none", found, err)
		}
	}
}

func TestSuccessorThatNobodyLooksAfterIsAStray(t *testing.T) {
	for _, version := range []string{"20.1.0", "23.0.0", "27.0.1", "27.0.1/../titled"} {
		t.Run(strings.ReplaceAll(version, "/", "_"), func(t *testing.T) {
			m, _ := serve(t, version, "--workers=2")
			neverStrays(t, m)
			if err := m.Signal(unix.SIGUSR2); err != nil {
				t.Fatal(err)
			}
			stray := awaitStrays(t, 1, m)[0]
			if stray.Of != m.PID() || stray.Below || len(stray.Words) == 0 {
				t.Errorf("%+v, want the successor of %d", stray, m.PID())
			}
			next, _, err := m.Spawn(limited(t))
			if err != nil || next.PID() != stray.PID {
				t.Fatalf("successor %v, %v, want %d", next, err, stray.PID)
			}
			neverStrays(t, m, next) // nor while its workers are forked
		})
	}
}

// A worker, or a dirty arbiter, that is forked again and again has the handlers of its
// master for an instant.
func TestWhatGunicornForksIsNoStray(t *testing.T) {
	dir := t.TempDir()
	dirty := "from gunicorn.dirty.app import DirtyApp\nclass Job(DirtyApp):\n    def __call__(self, action, *args, **kwargs):\n        return 1\n"
	if err := os.WriteFile(filepath.Join(dir, "dirty.py"), []byte(dirty), 0o644); err != nil {
		t.Fatal(err)
	}
	m, _ := serve(t, "27.0.1", "--workers=2", "--pythonpath="+dir, "--dirty-app=dirty:Job", "--dirty-workers=2")
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(50 * time.Millisecond):
				pids, _ := proc.Children(m.PID())
				for _, pid := range pids {
					_ = unix.Kill(pid, unix.SIGKILL)
				}
			}
		}
	}()
	neverStrays(t, m)
}

func TestAMasterThatNobodyLooksAfterIsAStray(t *testing.T) {
	m, _ := serve(t, "27.0.1", "--workers=1")
	info, err := proc.Cmdline(m.PID())
	if err != nil {
		t.Fatal(err)
	}
	dir, err := proc.Dir(m.PID())
	if err != nil {
		t.Fatal(err)
	}
	shell(t, m.reaper, fmt.Sprintf("cd %s && %s %s --bind=unix:beside --daemon app:app", dir, info[0], info[1]))
	stray := awaitStrays(t, 1, m)[0]
	if stray.Of != 0 || stray.Below || stray.Inside {
		t.Errorf("%+v, want one that is beside %d", stray, m.PID())
	}
}

// stopped stops a master until the end of the test, or until it is continued.
func stopped(t *testing.T, m *Master) (again func()) {
	t.Helper()
	if err := m.Signal(unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	again = func() { _ = m.Signal(unix.SIGCONT) }
	t.Cleanup(again)
	return again
}

func TestASuccessorThatComesLateIsWaitedFor(t *testing.T) {
	for _, version := range []string{"20.1.0", "27.0.1"} {
		t.Run(version, func(t *testing.T) {
			m, _ := serve(t, version, "--workers=2")
			if next, err := m.Late(limited(t)); next != nil || err != nil {
				t.Fatalf("%v, %v, and nobody was asked for any", next, err)
			}
			again := stopped(t, m)
			short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			if _, _, err := m.Spawn(short); !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("%v, of a master that is stopped", err)
			}
			short, cancel = context.WithTimeout(t.Context(), forkGrace+time.Second)
			defer cancel()
			if next, err := m.Late(short); !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("%v, %v, of a master that is stopped", next, err)
			}
			again()
			next, err := m.Late(limited(t))
			if err != nil || next == nil {
				t.Fatalf("%v, %v, want the successor", next, err)
			}
			if err := next.End(limited(t), 0); err != nil {
				t.Fatal(err)
			}
			m.Forget()
			if next, err := m.Late(limited(t)); next != nil || err != nil {
				t.Errorf("%v, %v, and one has come", next, err)
			}
		})
	}
}

func TestNobodyWaitsForASuccessorThatWillNotCome(t *testing.T) {
	m, _ := serve(t, "27.0.1", "--workers=1")
	m.asked = true // and gunicorn has ignored it
	if next, err := m.Late(limited(t)); next != nil || err != nil {
		t.Errorf("%v, %v, want none", next, err)
	}
	stopped(t, m)
	m.asked = true
	if err := m.Signal(unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Late(limited(t)); !errors.As(err, new(*ExitError)) {
		t.Errorf("%v, want that the master has ended", err)
	}
}
