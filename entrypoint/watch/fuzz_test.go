package watch

import (
	"context"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// FuzzReports drives a random sequence of file operations, three bytes each,
// against a model: what was last reported of a path is the digest that somebody
// finds who sees it for the first time; a file that has other bytes at the end
// than at the beginning was reported; and one that never had other bytes was
// not. | waits for what has been reported so far.
func FuzzReports(f *testing.F) {
	for _, seed := range []string{
		"w00|w00|w01",     // the same bytes, other bytes
		"r00|c00|r00|c01", // gone and back
		"d00m01w34|w35|",  // directories moved with files in them
		"l02|w20|l03|w20|w30|r20|w20",
		"l20l02|w00|w20", // a loop
		"d00d33m34|w44|w43|r40|d40w45",
		"w00m12|m21|m02|m20|",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, ops []byte) {
		dir := t.TempDir()
		paths := []string{"a", "a/b/f", "b", "c", "b/*", "**/f"}
		for i, p := range paths {
			paths[i] = filepath.Join(dir, p)
		}
		operate(dir, "w00")
		o := Options{Paths: paths, Debounce: settle}
		a, err := listen(o, filepath.Join(t.TempDir(), "marker"), io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
		files := newFiles(paths)
		for n := 0; len(ops) > 0 && n < 100; n++ {
			if ops[0] == '|' {
				ops = ops[1:]
				files.check(t, a)
				continue
			}
			if len(ops) < 3 {
				break
			}
			operate(dir, string(ops[:3]))
			ops = ops[3:]
			files.look()
		}
		files.check(t, a)
		a.Close()
		firstSight(t, a, o)
	})
}

// firstSight compares what was last reported with what a new watcher finds.
func firstSight(t *testing.T, a *audience, o Options) {
	t.Helper()
	o.Log = slog.New(slog.DiscardHandler)
	w, err := New(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	w.Close()
	for i, e := range w.entries {
		if _, gone := w.last.faults[e.path]; !gone && a.entries[i].told != e.told {
			t.Errorf("%s: %x was last reported, and %x is there; log:\n%s", e.path, a.entries[i].told, e.told, a.log.String())
		}
	}
}

// files is the model of those paths that are files.
type files struct {
	paths   []string
	told    map[string]string // content, as of the last check
	touched map[string]bool   // has had other content since
}

func newFiles(paths []string) *files {
	f := &files{paths: paths, told: make(map[string]string), touched: make(map[string]bool)}
	for _, p := range paths {
		f.told[p] = bytesOf(p)
	}
	return f
}

// bytesOf returns what is in a file, or "" if there is none: the model writes
// no empty ones.
func bytesOf(path string) string {
	b, _ := os.ReadFile(path)
	return string(b)
}

func (f *files) look() {
	for _, p := range f.paths {
		info, err := os.Stat(p)
		isFile := err == nil && info.Mode().IsRegular()
		f.touched[p] = f.touched[p] || !isFile || bytesOf(p) != f.told[p]
	}
}

func (f *files) check(t *testing.T, a *audience) {
	t.Helper()
	all, err := a.reports()
	if err != nil {
		t.Fatal(err)
	}
	reported := slices.Concat(all...)
	for _, p := range f.paths {
		got := slices.Contains(reported, p)
		now := bytesOf(p)
		if now != "" && f.told[p] != "" && now != f.told[p] && !got {
			t.Errorf("%s: %q became %q, and this was not reported", p, f.told[p], now)
		}
		if now != "" && !f.touched[p] && got {
			t.Errorf("%s: was %q all the time, and a change was reported", p, now)
		}
		if now != "" {
			f.told[p] = now
		}
	}
	clear(f.touched)
}

// operate does one operation; that many of them fail is as it should be.
func operate(dir string, op string) {
	names := []string{"a", "b", "c", "a/b", "b/b", "a/f", "b/f", "c/f", "a/b/f", "b/b/f"}
	at := func(b byte) string { return filepath.Join(dir, names[int(b-'0')%len(names)]) }
	const kinds = "wcdmrlht"
	kind := op[0]
	if strings.IndexByte(kinds, kind) < 0 {
		kind = kinds[int(kind)%len(kinds)]
	}
	switch path, other := at(op[1]), at(op[2]); kind {
	case 'w':
		overwrite(path, op[2:])
	case 'c':
		overwrite(path+".new", op[2:])
		_ = os.Rename(path+".new", path)
	case 'd':
		_ = os.MkdirAll(path, 0o755)
	case 'm':
		_ = os.Rename(path, other)
	case 'r':
		_ = os.RemoveAll(path)
	case 'l':
		_ = os.Symlink(other, path)
	case 'h':
		_ = os.Link(path, other)
	case 't':
		_ = os.Chtimes(path, time.Now(), time.Now())
	}
}

// overwrite writes in place, and in one step: after truncating a file, a test
// that gets no processor could leave it empty for the debounce time.
func overwrite(path, text string) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return
	}
	defer f.Close()
	_, _ = f.WriteString(text)
}
