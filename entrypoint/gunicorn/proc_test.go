package gunicorn

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// idle in the environment makes the test's program only wait for the end of
// its input, whatever its arguments.
const idle = "GUNICORN_TEST_IDLE"

func TestMain(m *testing.M) {
	if os.Getenv(idle) != "" {
		io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// unlinked opens a file as gunicorn's workertmp.py does: made by mkstemp, and
// unlinked at once.
func unlinked(t *testing.T, name string) *os.File {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(t.TempDir(), name), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if err := os.Remove(f.Name()); err != nil {
		t.Fatal(err)
	}
	return f
}

func TestFirstHeartbeatIsSeen(t *testing.T) {
	touch := map[string]func(f *os.File) error{
		"20.1, even beat": func(f *os.File) error { return f.Chmod(0) },
		"20.1, odd beat":  func(f *os.File) error { return f.Chmod(1) },
		"21.2 and later": func(f *os.File) error {
			uptime := time.Unix(5000, 0)
			return os.Chtimes(fmt.Sprintf("/proc/self/fd/%d", f.Fd()), uptime, uptime)
		},
	}
	for name, beat := range touch {
		t.Run(name, func(t *testing.T) {
			f := unlinked(t, "wgunicorn-abc")
			unlinked(t, "other")
			if got := ownBeats(t); len(got) != 1 || got[0].beaten {
				t.Fatalf("before the beat: %+v, want one that has not beaten", got)
			}
			if err := beat(f); err != nil {
				t.Fatal(err)
			}
			if got := ownBeats(t); len(got) != 1 || !got[0].beaten {
				t.Errorf("after the beat: %+v, want one that has beaten", got)
			}
		})
	}
}

func ownBeats(t *testing.T) []heartbeat {
	t.Helper()
	beats, err := heartbeats(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	return beats
}

func TestHandlesSeesInstalledHandlers(t *testing.T) {
	// The Go runtime catches most signals, so another program is looked at.
	cmd := exec.Command("sh", "-c", "trap : USR2; echo; read _")
	in, _ := cmd.StdinPipe()
	out, _ := cmd.StdoutPipe()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer in.Close()
	out.Read(make([]byte, 1)) // the trap is set
	if pid := cmd.Process.Pid; !handles(pid, unix.SIGUSR2) || handles(pid, unix.SIGUSR1) {
		t.Errorf("USR2 %v, USR1 %v, want only USR2 handled", handles(pid, unix.SIGUSR2), handles(pid, unix.SIGUSR1))
	}
}

func TestRunsTellsGunicornFromWhatOnlyNamesIt(t *testing.T) {
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		argv0 string
		args  []string
		want  bool
	}{
		"script":               {"python3.11", []string{"/venv/bin/gunicorn", "app:app"}, true},
		"with options":         {"/venv/bin/python", []string{"-u", "/venv/bin/gunicorn"}, true},
		"module":               {"python3", []string{"-m", "gunicorn", "app:app"}, true},
		"old module":           {"python3", []string{"-m", "gunicorn.app.wsgiapp"}, true},
		"module, again":        {"python3", []string{"/lib/gunicorn/__main__.py", "app:app"}, true},
		"renamed":              {"gunicorn: master [app:app]", nil, true},
		"shell":                {"sh", []string{"-c", "gunicorn app:app"}, false},
		"sudo":                 {"sudo", []string{"gunicorn"}, false},
		"wrapper":              {"python3", []string{"/venv/bin/ddtrace-run", "gunicorn"}, false},
		"other module":         {"python3", []string{"-m", "http.server"}, false},
		"another application":  {"python3", []string{"server.py"}, false},
		"editor of its config": {"vim", []string{"gunicorn.conf.py"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.Command(program)
			cmd.Args = append([]string{test.argv0}, test.args...)
			cmd.Env = append(os.Environ(), idle+"=1", "GORACE=atexit_sleep_ms=0")
			in, _ := cmd.StdinPipe()
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer cmd.Wait()
			defer in.Close()
			words := awaitWords(t, cmd.Process.Pid)
			if got, err := runs(cmd.Process.Pid); err != nil || got != test.want {
				t.Errorf("%q: %v, %v, want %v", words, got, err, test.want)
			}
		})
	}
}
