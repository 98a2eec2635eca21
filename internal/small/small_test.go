package small

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestWhateverIsThereIsReadAtOnce(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.WriteFile(at("file"), []byte("12\n"), 0o600))
	must(os.WriteFile(at("endless"), nil, 0o600))
	must(os.Truncate(at("endless"), 1<<40))
	must(os.Mkdir(at("directory"), 0o700))
	must(unix.Mkfifo(at("fifo"), 0o600))
	must(os.Symlink("file", at("link")))
	must(os.Symlink("loop", at("loop")))
	for name, want := range map[string]struct {
		length int
		err    error
	}{
		"file": {3, nil}, "endless": {64, nil}, "directory": {0, ErrNoFile}, "fifo": {0, ErrNoFile},
		"link": {3, nil}, "loop": {0, unix.ELOOP}, "none": {0, fs.ErrNotExist}, "file/below": {0, unix.ENOTDIR},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		b, _, err := Read(ctx, at(name), 64, 0)
		cancel()
		if len(b) != want.length || !errors.Is(err, want.err) {
			t.Errorf("%s: %d bytes, %v, want %d, %v", name, len(b), err, want.length, want.err)
		}
	}
	if _, _, err := Read(t.Context(), at("link"), 64, unix.O_NOFOLLOW); !errors.Is(err, unix.ELOOP) {
		t.Errorf("a symlink that is not to be followed: %v", err)
	}
}

func TestAFileIsReadInADirectoryThatIsOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "before")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.Mkdir(path, 0o700))
	dir, err := os.Open(path)
	must(err)
	defer dir.Close()
	must(os.WriteFile(filepath.Join(path, "file"), []byte("12\n"), 0o600))
	must(unix.Mkfifo(filepath.Join(path, "fifo"), 0o600))
	must(os.Rename(path, path+" and after"))
	for name, want := range map[string]struct {
		content string
		err     error
	}{"file": {"12", nil}, "fifo": {"", ErrNoFile}, "none": {"", fs.ErrNotExist}} {
		b, _, err := ReadAt(dir, name, 2, 0)
		if string(b) != want.content || !errors.Is(err, want.err) {
			t.Errorf("%s: %q, %v, want %q, %v", name, b, err, want.content, want.err)
		}
	}
}

func TestWhatIsWrittenIsThereWholeOrNotAtAll(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	for _, content := range []string{"one", "another"} {
		if err := Write(path, []byte(content)); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		info, err2 := os.Stat(path)
		if err := errors.Join(err, err2); err != nil || string(got) != content || info.Mode() != 0o600 {
			t.Fatalf("%q of mode %v, %v", got, info.Mode(), err)
		}
	}
	if err := Write(filepath.Join(dir, "none", "file"), nil); err == nil {
		t.Error("no error where there is no directory")
	}
	if err := os.Mkdir(filepath.Join(dir, "directory"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := Write(filepath.Join(dir, "directory"), nil); err == nil {
		t.Error("no error where a directory is in the place")
	}
	if left, _ := os.ReadDir(dir); len(left) != 2 {
		t.Errorf("%v are left", left)
	}
}
