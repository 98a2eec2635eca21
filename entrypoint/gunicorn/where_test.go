package gunicorn

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stablehand/stablehand/internal/proc"
)

// Python takes a relative word from the directory that it was started in, by the
// name without symlinks; PWD may be of another one, since only shells change it.
func TestInterpreterOfARelativeWord(t *testing.T) {
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"a/bin", "b/bin", "empty"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range []string{"a/bin/python3", "b/bin/python3"} {
		if err := os.WriteFile(filepath.Join(root, file), nil, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("a", filepath.Join(root, "link")); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		ours, cwd, pwd string
		want           string // the directory
	}{
		"PWD is right":                             {"b", "a", "a", "a"},
		"PWD is a symlink":                         {"b", "a", "link", "a"},
		"PWD is stale":                             {"empty", "a", "b", "a"},
		"PWD is missing":                           {"empty", "a", "none", "a"},
		"gunicorn has changed":                     {"a", "b", "a", "a"},
		"gunicorn has changed, PWD is stale":       {"a", "empty", "b", "a"},
		"a shell has changed, gunicorn after that": {"empty", "empty", "link", "a"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Chdir(filepath.Join(root, test.ours))
			pid := startIdle(t, filepath.Join(root, test.cwd), "bin/python3", "PWD="+filepath.Join(root, test.pwd))
			want := filepath.Join(root, test.want, "bin/python3")
			if got := interpreter(t.Context(), pid); got != want {
				t.Errorf("%s, want %s", got, want)
			}
		})
	}
}

// startIdle starts a process that waits for the end of the test, by that word in
// that directory.
func startIdle(t *testing.T, dir, argv0 string, env ...string) (pid int) {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program)
	cmd.Args = []string{argv0}
	cmd.Dir = dir
	cmd.Env = append(append(os.Environ(), idle+"=1", "GORACE=atexit_sleep_ms=0"), env...)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		cmd.Wait()
	})
	awaitWords(t, cmd.Process.Pid)
	return cmd.Process.Pid
}

// awaitWords waits until a process is through its exec, and returns its command
// line.
func awaitWords(t *testing.T, pid int) []string {
	t.Helper()
	for {
		words, err := proc.Cmdline(pid)
		if err != nil {
			t.Fatal(err)
		}
		if len(words) > 0 {
			return words
		}
		time.Sleep(time.Millisecond)
	}
}
