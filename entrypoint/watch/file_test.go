package watch

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestFileIsReportedWhenItsBytesChange(t *testing.T) {
	s := newStage(t)
	s.write("a", "1")
	s.write("b", "1")
	s.watch(Options{Paths: []string{"a", "b"}})
	s.expect()
	s.write("a", "2")
	s.expect("a")
	s.write("a", "2") // the same bytes
	s.must(os.Chtimes(s.path("b"), time.Now(), time.Now()))
	s.must(os.Chmod(s.path("b"), 0o600))
	s.write("c", "a file beside them")
	s.expect()
	s.write("new", "3")
	s.rename("new", "a")
	s.write("b", "3")
	s.expect("a b")
}

func TestFileThatGoesIsNoChange(t *testing.T) {
	s := newStage(t)
	s.write("a", "1")
	s.watch(Options{Paths: []string{"a"}})
	s.remove("a")
	s.expect()
	if n := strings.Count(s.log.String(), "watched path is gone"); n != 1 {
		t.Errorf("%d warnings that the path is gone, want 1", n)
	}
	s.write("a", "1")
	s.expect()
	s.remove("a")
	s.expect()
	s.write("a", "2")
	s.expect("a")
}

func TestMissingPathIsSeenWhenItAppears(t *testing.T) {
	s := newStage(t)
	s.watch(Options{Paths: []string{"x/y/z", "d"}})
	if n := strings.Count(s.log.String(), "does not exist"); n != 2 {
		t.Errorf("%d warnings that a path does not exist, want 2", n)
	}
	s.mkdir("x/y")
	s.mkdir("d") // empty, it has no content
	s.expect()
	s.write("x/y/z", "1")
	s.expect("x/y/z")
	s.write("d/f", "1")
	s.expect("d")
}

func TestReplacedAncestorIsSeen(t *testing.T) {
	s := newStage(t)
	for _, dir := range []string{"x", "other"} {
		s.mkdir(dir + "/y")
		s.write(dir+"/y/z", dir)
	}
	s.watch(Options{Paths: []string{"x/y/z"}})
	s.rename("x", "old")
	s.expect()
	s.write("old/y/z", "not what is watched")
	s.expect()
	s.rename("other", "x")
	s.expect("x/y/z")
	s.write("x/y/z", "3") // the watches have followed
	s.expect("x/y/z")
	s.rename("x/y", "x/old")
	s.mkdir("x/y")
	s.write("x/y/z", "4")
	s.expect("x/y/z")
}

func TestSymlinkSwappedAnywhereOnTheWayIsSeen(t *testing.T) {
	s := newStage(t)
	for _, r := range []string{"1", "2"} {
		s.mkdir("releases/" + r + "/etc")
		s.write("releases/"+r+"/etc/conf", r)
	}
	s.link("releases/1", "current")
	s.mkdir("app")
	s.link("../current/etc/conf", "app/conf")
	s.link(s.path("app"), "srv")
	s.watch(Options{Paths: []string{"srv/conf"}})
	s.relink("releases/2", "current")
	s.expect("srv/conf")
	s.write("releases/1/etc/conf", "not in use any more")
	s.expect()
	s.write("releases/2/etc/conf", "3")
	s.expect("srv/conf")
	s.relink("nowhere", "srv")
	s.expect()
	s.relink("app", "srv")
	s.expect()
	s.relink(s.path("srv"), "srv") // a loop
	s.expect()
}

func TestEventsForOtherNamesTriggerNoLook(t *testing.T) {
	s := newStage(t)
	s.write("a", "1")
	s.watch(Options{Paths: []string{"a"}})
	s.expect()
	looks := s.looks.Load()
	for i := range 1000 {
		s.write(fmt.Sprint("other", i%7), fmt.Sprint(i))
	}
	s.expect()
	if got := s.looks.Load() - looks; got > 3 { // truncated, written, confirmed
		t.Errorf("%d looks, want those of the marker", got)
	}
}

func TestWhatHasNoContentNeverBlocks(t *testing.T) {
	s := newStage(t)
	s.mkdir("d")
	s.write("d/f", "1")
	for _, name := range []string{"fifo", "d/fifo"} {
		s.must(unix.Mkfifo(s.path(name), 0o600))
	}
	s.watch(Options{Paths: []string{"fifo", "d", "/dev/zero"}})
	s.write("d/f", "2")
	s.expect("d")
	if n := strings.Count(s.log.String(), "neither a file nor a directory"); n != 2 {
		t.Errorf("%d warnings, want 2", n)
	}
	s.remove("fifo")
	s.write("fifo", "a file now")
	s.expect("fifo")
}

func TestSlowWriterIsOneChange(t *testing.T) {
	s := newStage(t)
	s.write("a", "1")
	s.watch(Options{Paths: []string{"a"}, Debounce: 500 * time.Millisecond})
	f, err := os.OpenFile(s.path("a"), os.O_WRONLY|os.O_TRUNC, 0)
	s.must(err)
	defer f.Close()
	for range 20 {
		_, err := f.WriteString("line\n")
		s.must(err)
		time.Sleep(50 * time.Millisecond) // the writer's pace, not the test's
	}
	s.expect("a")
}
