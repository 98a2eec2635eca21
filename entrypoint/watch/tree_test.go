package watch

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// volume writes a volume as the kubelet's AtomicWriter does.
func (s *stage) volume(dir, stamp string, files map[string]string) {
	s.Helper()
	for name, text := range files {
		s.mkdir(filepath.Join(dir, stamp, filepath.Dir(name)))
		s.write(filepath.Join(dir, stamp, name), text)
	}
	old, _ := os.Readlink(s.path(dir + "/..data"))
	s.link(stamp, dir+"/..data_tmp")
	s.rename(dir+"/..data_tmp", dir+"/..data")
	for name := range files {
		top, _, _ := strings.Cut(name, "/")
		_ = os.Symlink("..data/"+top, s.path(dir+"/"+top))
	}
	if old != "" {
		s.remove(dir + "/" + old)
	}
}

func TestKubernetesVolume(t *testing.T) {
	s := newStage(t)
	s.mkdir("vol")
	s.volume("vol", "..1", map[string]string{"key": "1", "nested/key": "1"})
	s.link("vol/key", "link")
	s.watch(Options{Paths: []string{"vol/key", "vol", "link"}})
	s.volume("vol", "..2", map[string]string{"key": "2", "nested/key": "1"})
	s.expect("vol/key vol link")
	s.volume("vol", "..3", map[string]string{"key": "2", "nested/key": "1"}) // resync
	s.expect()
	s.volume("vol", "..4", map[string]string{"key": "2", "nested/key": "2"})
	s.expect("vol")
	s.volume("vol", "..5", map[string]string{"key": "2", "nested/key": "2", "more": "1"})
	s.expect("vol")
	s.volume("vol", "..6", map[string]string{"key": "3", "nested/key": "2", "more": "1"})
	s.expect("vol/key vol link")
}

func TestDirectoryIsItsFilesAndTheirBytes(t *testing.T) {
	s := newStage(t)
	s.mkdir("d/sub")
	s.write("d/f", "1")
	s.write("d/sub/f", "1")
	s.watch(Options{Paths: []string{"d"}})
	for _, step := range []struct {
		what string
		do   func()
		want []string
	}{
		{"file created", func() { s.write("d/g", "1") }, []string{"d"}},
		{"file written below", func() { s.write("d/sub/f", "2") }, []string{"d"}},
		{"file renamed", func() { s.rename("d/g", "d/h") }, []string{"d"}},
		{"file removed", func() { s.remove("d/h") }, []string{"d"}},
		{"empty directory", func() { s.mkdir("d/empty/empty") }, nil},
		{"file in a new directory", func() { s.write("d/empty/empty/f", "1") }, []string{"d"}},
		{"directory renamed", func() { s.rename("d/empty", "d/full") }, []string{"d"}},
		{"file written in it", func() { s.write("d/full/empty/f", "2") }, []string{"d"}},
		{"directories made with files in them", func() { s.mkdir("d/a/b/c"); s.write("d/a/b/c/f", "1") }, []string{"d"}},
		{"file written in them", func() { s.write("d/a/b/c/f", "2") }, []string{"d"}},
		{"directory removed", func() { s.remove("d/a") }, []string{"d"}},
		{"tree moved in", func() { s.mkdir("t/u"); s.write("t/u/f", "1"); s.rename("t", "d/t") }, []string{"d"}},
		{"file written in it", func() { s.write("d/t/u/f", "2") }, []string{"d"}},
		{"tree moved out", func() { s.rename("d/t", "t") }, []string{"d"}},
		{"file written outside", func() { s.write("t/u/f", "3") }, nil},
		{"symlink to itself", func() { s.link(".", "d/loop") }, nil},
		{"symlink to nothing", func() { s.link("nothing", "d/dangling") }, nil},
		{"that appears", func() { s.write("d/nothing", "1") }, []string{"d"}},
		{"all replaced by the same", func() {
			s.must(os.CopyFS(s.path("copy"), os.DirFS(s.path("d/full"))))
			s.remove("d/full")
			s.rename("copy", "d/full")
		}, nil},
	} {
		step.do()
		if diff := cmp.Diff(step.want, s.reports()); diff != "" {
			t.Errorf("%s: reports (-want +got):\n%s", step.what, diff)
		}
	}
}

func TestIgnoredNamesNeverMatterInADirectory(t *testing.T) {
	s := newStage(t)
	s.mkdir("d")
	s.write("d/f", "1")
	s.write("named~", "1")
	s.watch(Options{Paths: []string{"d", "named~"}, Ignore: DefaultIgnore})
	looks := s.looks.Load()
	for _, name := range []string{"f~", "#f#", ".f.swp", "4913", "..data_tmp", "m.pyc"} {
		s.write("d/"+name, "1")
		s.remove("d/" + name)
	}
	s.mkdir("d/.git")
	s.write("d/.git/index", "1")
	s.mkdir("d/__pycache__")
	s.expect()
	if got := s.looks.Load() - looks; got > 3 {
		t.Errorf("%d looks, want those of the marker", got)
	}
	s.write("named~", "2") // named, it matters
	s.expect("named~")
}

func TestOnlyWhatChangedIsReadAgain(t *testing.T) {
	s := newStage(t)
	s.mkdir("d")
	for i := range 100 {
		s.write(fmt.Sprint("d/", i), "1")
	}
	s.watch(Options{Paths: []string{"d"}})
	s.write("d/7", "2")
	s.expect("d")
	s.write("d/7", "3")
	reads := s.reads.Load()
	s.expect("d")
	if got := s.reads.Load() - reads; got > 10 {
		t.Errorf("%d files read again for one that changed", got)
	}
}

func TestDefaultIgnoreCanBeRead(t *testing.T) {
	if _, err := parse(t.Context(), Options{Ignore: DefaultIgnore}); err != nil {
		t.Error(err)
	}
}

func TestGlobMatchesWhatAppearsLater(t *testing.T) {
	s := newStage(t)
	s.mkdir("d/sub")
	s.write("d/a.conf", "1")
	s.write("d/a.txt", "1")
	s.watch(Options{Paths: []string{"d/*.conf", "d/*/*.conf", "d/**/*.conf", "no/*.conf"}, Ignore: DefaultIgnore})
	if n := strings.Count(s.log.String(), "does not exist"); n != 2 {
		t.Errorf("%d warnings that nothing matches, want 2", n)
	}
	s.write("d/a.txt", "2")
	s.write("d/.#a.conf", "1")
	s.expect()
	s.write("d/b.conf", "1")
	s.expect("d/*.conf d/**/*.conf")
	s.write("d/sub/c.conf", "1")
	s.expect("d/*/*.conf d/**/*.conf")
	s.mkdir("d/x/y")
	s.write("d/x/y/d.conf", "1")
	s.expect("d/**/*.conf")
	s.rename("d/b.conf", "d/e.conf")
	s.expect("d/*.conf d/**/*.conf")
	s.remove("d/sub") // the last match of one of them
	s.expect("d/**/*.conf")
	s.mkdir("no")
	s.write("no/a.conf", "1")
	s.expect("no/*.conf")
	s.link("..", "d/x/loop")
	s.expect()
}

// TestDirectoriesThatComeAndGo moves directories and removes them before the
// news of the move has been taken in.
func TestDirectoriesThatComeAndGo(t *testing.T) {
	s := newStage(t)
	s.mkdir("d")
	s.watch(Options{Paths: []string{"d"}, Debounce: settle})
	for turn := range 50 {
		for n := range 10 {
			s.mkdir(fmt.Sprint("d/", n))
		}
		s.write("d/f", fmt.Sprint(turn))
		s.expect("d")
		for n := range 10 {
			s.rename(fmt.Sprint("d/", n), fmt.Sprint("d/moved", n))
			s.remove(fmt.Sprint("d/moved", n))
		}
	}
	s.expect()
}
