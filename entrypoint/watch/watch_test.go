package watch

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func TestSlowReceiverGetsOneMergedChange(t *testing.T) {
	s := newStage(t)
	s.write("a", "1")
	s.write("b", "1")
	s.watch(Options{Paths: []string{"a", "b"}})
	probe := newStage(t).watch(Options{Paths: []string{s.path("a"), s.path("b")}})
	s.write("a", "2")
	probe.expect(s.path("a"))
	s.write("b", "2")
	probe.expect(s.path("b"))
	s.write("a", "1") // undone before anybody asked
	probe.expect(s.path("a"))
	s.expect("b")
}

func TestNoPathsIsNoReports(t *testing.T) {
	w, err := New(context.Background(), Options{Paths: []string{""}})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	if err := w.Close(); err != nil {
		t.Error("closed again:", err)
	}
	if _, open := <-w.Changes(); open {
		t.Error("a change was reported")
	}
}

func TestBadPatternIsAnError(t *testing.T) {
	if _, err := New(context.Background(), Options{Ignore: []string{"[a-"}}); err == nil {
		t.Error("no error")
	}
}

func TestResolveSaysWhatAPathLeadsTo(t *testing.T) {
	s := newStage(t)
	s.mkdir("vol/sub")
	s.volume("vol", "..1", map[string]string{"a.conf": "1", "b.conf": "1"})
	s.link("vol/a.conf", "link")
	s.write("big", strings.Repeat("x", 1<<20))
	s.must(os.Mkdir(s.path("empty"), 0o755))
	s.must(unix.Mkfifo(s.path("fifo"), 0o600))
	var paths []string
	for _, name := range []string{"link", "vol", "vol/*.conf", "missing", "fifo", "empty"} {
		paths = append(paths, s.path(name))
	}
	got, err := Resolve(t.Context(), Options{Paths: paths})
	s.must(err)
	var lines []string
	for _, r := range got {
		line := fmt.Sprintf("%s: %v %d %v", r.Path, r.To, r.Files, r.Faults)
		lines = append(lines, strings.ReplaceAll(line, s.dir+"/", ""))
	}
	want := []string{
		"link: [vol/..1/a.conf] 1 []",
		"vol: [vol] 2 []",
		"vol/*.conf: [vol/..1/a.conf vol/..1/b.conf] 2 []",
		"missing: [] 0 [missing: watched path does not exist: it is seen when it appears]",
		"fifo: [] 0 [fifo: watched path is neither a file nor a directory: it has no content to watch]",
		"empty: [empty] 0 []",
	}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Errorf("resolved (-want +got):\n%s", diff)
	}
}

func TestPollSeesWhatSendsNoEvent(t *testing.T) {
	s := newStage(t)
	s.write("a", "1")
	s.watch(Options{Paths: []string{"a"}, Poll: 50 * time.Millisecond})
	f, err := os.OpenFile(s.path("a"), os.O_RDWR, 0)
	s.must(err)
	defer f.Close()
	mem, err := unix.Mmap(int(f.Fd()), 0, 1, unix.PROT_WRITE, unix.MAP_SHARED) // inotify(7): not reported
	s.must(err)
	mem[0] = '2'
	s.must(unix.Munmap(mem))
	select {
	case c := <-s.Changes():
		if diff := cmp.Diff([]string{s.path("a")}, c.Paths); diff != "" {
			t.Errorf("report (-want +got):\n%s", diff)
		}
	case <-time.After(patience):
		t.Error("no report")
	}
}

func TestRelativePathsStartFromTheWorkingDirectory(t *testing.T) {
	s := newStage(t)
	s.mkdir("[odd]/a")
	s.mkdir("a")
	s.write("a/f", "1")
	s.write("[odd]/g", "1")
	s.Chdir(s.path("[odd]/a"))
	s.raw(Options{Paths: []string{"../../a/f", "../*", "missing/*"}})
	s.write("a/f", "2")
	s.expect("../../a/f")
	s.write("[odd]/g", "2")
	s.expect("../*")
}
