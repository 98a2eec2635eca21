package gunicorn

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stablehand/stablehand/internal/small"
)

// hanging mounts a file system that never answers, and returns its directory and
// what has it fail instead.
func hanging(t *testing.T) (dir string, fail func()) {
	t.Helper()
	fuse, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skipf("needs FUSE: %v", err)
	}
	dir = t.TempDir()
	options := fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", fuse)
	if err := unix.Mount("nobody", dir, "fuse.hanging", 0, options); err != nil {
		unix.Close(fuse)
		t.Skipf("needs leave to mount: %v", err)
	}
	failed := false
	fail = func() {
		if !failed {
			failed = true
			unix.Close(fuse)
		}
	}
	t.Cleanup(func() {
		fail()
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir, fail
}

func TestAFileSystemThatHangsIsAskedOnceForAPath(t *testing.T) {
	dir, fail := hanging(t)
	goroutines := runtime.NumGoroutine()
	for range 20 {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		if _, err := lookAt(ctx, filepath.Join(dir, "python")); err != small.ErrHangs {
			t.Errorf("%v, want that it hangs", err)
		}
		cancel()
	}
	if more := runtime.NumGoroutine() - goroutines; more > 1 {
		t.Errorf("%d goroutines are left", more)
	}
	fail()
	if p, err := lookAt(limited(t), filepath.Join(dir, "python")); err != nil || p.err == nil {
		t.Errorf("%v, %v, when it fails", p.err, err)
	}
}

func TestNoSuccessorIsAskedForWhereItsProgramDoesNotAnswer(t *testing.T) {
	dir, _ := hanging(t)
	for name, test := range map[string]struct {
		m    *Master
		want string
	}{
		"interpreter": {&Master{interpreter: dir + "/python"},
			"gunicorn's interpreter " + dir + "/python does not answer: its file system hangs"},
		"directory": {&Master{dir: dir + "/site"},
			"gunicorn's working directory " + dir + "/site does not answer: its file system hangs"},
	} {
		t.Run(name, func(t *testing.T) {
			begun := time.Now()
			err := test.m.canExec(t.Context())
			if err == nil || err.Error() != test.want || advice(err) == "" {
				t.Errorf("%v (%s), want %s", err, advice(err), test.want)
			}
			if took := time.Since(begun); took < answerLimit || took > 2*answerLimit {
				t.Errorf("it took %v, want %v", took, answerLimit)
			}
			why := errors.New("stopping")
			ctx, cancel := context.WithCancelCause(t.Context())
			cancel(why)
			if err := test.m.canExec(ctx); err != why {
				t.Errorf("%v, want the context's cause", err)
			}
		})
	}
}

func TestNoSuccessorIsAskedForWhereItsProgramHasGone(t *testing.T) {
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain")
	if err := os.WriteFile(plain, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for want, m := range map[string]*Master{
		"gunicorn's interpreter " + dir + "/none cannot be run: no such file or directory": {interpreter: dir + "/none"},
		"gunicorn's interpreter " + plain + " cannot be run: permission denied":            {interpreter: plain},
		"gunicorn's working directory " + dir + "/none has gone":                           {dir: dir + "/none"},
		"gunicorn's working directory " + plain + " has gone":                              {dir: plain},
	} {
		if err := m.canExec(t.Context()); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if err := (&Master{dir: dir, interpreter: "/bin/sh"}).canExec(t.Context()); err != nil {
		t.Error(err)
	}
	if err := new(Master).canExec(t.Context()); err != nil {
		t.Errorf("nothing is known: %v", err)
	}
}

// Where a file system hangs a generation gets ready all the same, in time.
func TestWhatDoesNotAnswerIsNotKnown(t *testing.T) {
	dir, _ := hanging(t)
	home := t.TempDir()
	for name, env := range map[string][]string{
		"PWD":          {"PWD=" + dir + "/site"},
		"PATH":         {"PATH=" + dir + "/bin:" + dir + "/sbin:/bin", "PWD=" + home},
		"both of them": {"PATH=" + dir + "/bin:/bin", "PWD=" + dir + "/site"},
	} {
		t.Run(name, func(t *testing.T) {
			word := "python3"
			if name == "PWD" {
				word = "bin/python3"
			}
			pid := startIdle(t, home, word, env...)
			ctx, cancel := context.WithTimeout(t.Context(), answerLimit)
			defer cancel()
			begun := time.Now()
			if got := interpreter(ctx, pid); got != "" {
				t.Errorf("interpreter %s, want none that is known", got)
			}
			got := startDir(ctx, pid)
			if took := time.Since(begun); took > answerLimit+time.Second {
				t.Errorf("it took %v, want %v at most", took, answerLimit)
			}
			if strings.HasPrefix(got, dir) {
				t.Errorf("directory %s, which does not answer", got)
			}
		})
	}
}
