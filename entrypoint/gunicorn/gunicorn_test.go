package gunicorn

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stablehand/stablehand/internal/proc"
	"github.com/stablehand/stablehand/reaper"
)

// deadline is for what comes at once on a machine that is not busy.
const deadline = time.Minute

// app answers, at /slow after a minute.
const app = `
import os
import time

def app(environ, start_response):
    if environ["PATH_INFO"] == "/slow":
        time.sleep(60)
    start_response("200 OK", [])
    if environ["PATH_INFO"] == "/pid":
        return [str(os.getpid()).encode()]
    return [b"hello"]
`

// newReaper reaps until the end of the test, and leaves nothing then.
func newReaper(t testing.TB) *reaper.Reaper {
	t.Helper()
	r, err := reaper.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), deadline)
		defer cancel()
		if err := proc.End(ctx, func() ([]proc.Info, error) { return proc.Descendants(os.Getpid()) }); err != nil {
			t.Error(err)
		}
	})
	return r
}

// shell starts a script.
func shell(t *testing.T, r *reaper.Reaper, script string) *reaper.Process {
	t.Helper()
	p, err := r.Start([]string{"sh", "-c", script}, &syscall.ProcAttr{Env: os.Environ(), Files: []uintptr{0, 1, 2}})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// serve starts a gunicorn of that version with some workers, and returns its
// master when it is ready, with the path of its socket.
func serve(t testing.TB, version string, words ...string) (*Master, string) {
	t.Helper()
	if testing.Short() {
		t.Skip("a real gunicorn takes seconds")
	}
	program, err := filepath.Abs("../../.cache/py/gunicorn-" + version + "/bin/gunicorn")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(program); err != nil {
		t.Skipf("make envs makes gunicorn %s: %v", version, err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "app.py"), []byte(app), 0o644); err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	r := newReaper(t)
	socket := filepath.Join(dir, "socket")
	command, err := r.Start(append([]string{program, "--bind=unix:" + socket, "app:app"}, words...),
		&syscall.ProcAttr{Dir: dir, Env: os.Environ(), Files: []uintptr{0, log.Fd(), log.Fd()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if text, _ := os.ReadFile(log.Name()); t.Failed() {
			t.Logf("gunicorn's log:\n%s", text)
		}
	})
	ctx := limited(t)
	m, err := Find(ctx, r, command, Origin{})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Ready(ctx, 0, func(Workers) {}); err != nil {
		t.Fatal(err)
	}
	return m, socket
}

func limited(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	t.Cleanup(cancel)
	return ctx
}

func children(t *testing.T, pid int) []int {
	t.Helper()
	list, err := proc.Children(pid)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func advice(err error) string {
	var knows interface{ Advice(lines string) string }
	if errors.As(err, &knows) {
		return knows.Advice("gunicorn's lines above")
	}
	return ""
}

func TestErrorsKnowWhatCanBeDone(t *testing.T) {
	r := newReaper(t)
	for script, want := range map[string]string{
		"kill -9 $$": "if nobody has killed it, give the container more memory",
		"exit 3":     "mend what gunicorn's lines above tell of",
	} {
		p := shell(t, r, script)
		exit := &ExitError{PID: p.PID(), Status: p.Status()}
		if got := advice(fmt.Errorf("warm: %w", exit)); got != want {
			t.Errorf("%s: %q, want %q", script, got, want)
		}
		if exit.ExitCode() != p.Status().ExitCode() {
			t.Errorf("%s: exit code %d", script, exit.ExitCode())
		}
	}
	if advice(fmt.Errorf("soak: %w", ErrLost)) != "see gunicorn's lines above for which, and why" || !errors.Is(fmt.Errorf("soak: %w", ErrLost), ErrLost) {
		t.Error("a lost worker comes without advice")
	}
}

func cpu(t testing.TB) time.Duration {
	t.Helper()
	var used unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &used); err != nil {
		t.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// A command that has many children and never becomes gunicorn is looked at ever
// more seldom.
func TestFindCostsLittleWhereNoGunicornComes(t *testing.T) {
	if testing.Short() {
		t.Skip("it measures for 5 s")
	}
	r := newReaper(t)
	p := shell(t, r, "for i in 1 2 3 4 5 6 7 8 9 10; do for j in 1 2 3 4; do sleep 3600 & done; done; wait")
	for end := time.Now().Add(deadline); len(children(t, p.PID())) < 40 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	const while = 5 * time.Second
	ctx, cancel := context.WithTimeout(t.Context(), while)
	defer cancel()
	begun := cpu(t)
	if m, err := Find(ctx, r, p, Origin{}); err == nil {
		t.Fatalf("process %d is found", m.PID())
	}
	used := cpu(t) - begun
	t.Logf("%v of processor time in %v", used, while)
	if used > while/10 {
		t.Errorf("%v of processor time in %v", used, while)
	}
}
