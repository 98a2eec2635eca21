package entrypoint

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/stablehand/stablehand/entrypoint/gunicorn"
	"github.com/stablehand/stablehand/entrypoint/life"
)

// What others can have written vouches for nothing.
func TestWhatWasKeptIsOursAlone(t *testing.T) {
	const good = `{"pid":7,"started":9,"command":"x"}`
	for name, test := range map[string]struct {
		write func(path string) error
		said  bool
	}{
		"ours":             {func(path string) error { return os.WriteFile(path, []byte(good), 0o600) }, true},
		"for all to read":  {func(path string) error { return os.WriteFile(path, []byte(good), 0o644) }, true},
		"for all to write": {func(path string) error { return chmodded(path, good, 0o646) }, false},
		"a group's":        {func(path string) error { return chmodded(path, good, 0o660) }, false},
		"a symlink": {func(path string) error {
			if err := os.WriteFile(path+".real", []byte(good), 0o600); err != nil {
				return err
			}
			return os.Symlink(path+".real", path)
		}, false},
		"a pipe":      {func(path string) error { return unix.Mkfifo(path, 0o600) }, false},
		"a directory": {func(path string) error { return os.Mkdir(path, 0o700) }, false},
		"half of it":  {func(path string) error { return os.WriteFile(path, []byte(good[:20]), 0o600) }, false},
		"none":        {func(string) error { return nil }, false},
	} {
		t.Run(name, func(t *testing.T) {
			pidfile := filepath.Join(t.TempDir(), "gunicorn.pid")
			if err := test.write(pidfile + keptName); err != nil {
				t.Fatal(err)
			}
			if k := readKept(pidfile); (k.of("x") == gunicorn.Kept{PID: 7, Started: 9}) != test.said || k.of("y") != (gunicorn.Kept{}) {
				t.Errorf("%+v", k)
			}
		})
	}
}

func chmodded(path, content string, mode os.FileMode) error {
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		return err
	}
	return os.Chmod(path, mode) // whatever the umask
}

func TestWhatWasKeptOfAnotherUserSaysNothing(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to give a file away")
	}
	pidfile := filepath.Join(t.TempDir(), "gunicorn.pid")
	if err := os.WriteFile(pidfile+keptName, []byte(`{"pid":7,"started":9,"command":"x"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(pidfile+keptName, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	if k := readKept(pidfile); k != (kept{}) {
		t.Errorf("%+v", k)
	}
}

// What one command, or one WATCH, has read says nothing of another's.
func TestWhatWasKeptIsOfOneCommand(t *testing.T) {
	content := life.Content{1}
	k := kept{process: process{7, 9}, Command: "x", Watch: "w", Content: fmt.Sprintf("%x", content[:])}
	if (k.of("x") != gunicorn.Kept{PID: 7, Started: 9}) || k.of("y") != (gunicorn.Kept{}) {
		t.Error("it does not tell commands apart")
	}
	if k.content("w") != content || k.content("v") != (life.Content{}) {
		t.Error("it does not tell what is watched apart")
	}
	k.Content = k.Content[2:]
	if k.content("w") != (life.Content{}) {
		t.Error("a part of a content is taken for one")
	}
}

func TestAKeeperLeavesNothing(t *testing.T) {
	pidfile := filepath.Join(t.TempDir(), "gunicorn.pid")
	k := newKeeper(Config{}, Command{Pidfile: pidfile}, slog.New(slog.DiscardHandler))
	k.close()
	if _, err := os.Lstat(pidfile + keptName); !os.IsNotExist(err) {
		t.Error(err)
	}
	(*keeper)(nil).close()
}
