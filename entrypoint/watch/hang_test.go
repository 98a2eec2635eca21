package watch

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// outside is a directory of the stage that is reached through a file system of
// its own, which a test can keep from answering. The test itself only ever touches
// what is behind it.
type outside struct {
	*stage
	behind, mounted string
	bindfs          *exec.Cmd
}

func newOutside(s *stage) *outside {
	s.Helper()
	if testing.Short() {
		s.Skip("a file system that hangs takes seconds")
	}
	for _, tool := range []string{"bindfs", "fusermount"} {
		if _, err := exec.LookPath(tool); err != nil {
			s.Skip("no file system to stop:", err)
		}
	}
	fuse, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		s.Skip("no file system to stop:", err)
	}
	fuse.Close()
	o := &outside{stage: s, behind: s.path("behind"), mounted: s.path("mounted")}
	s.mkdir("behind")
	s.mkdir("mounted")
	// Nothing is answered from the kernel's memory.
	o.bindfs = exec.Command("bindfs", "-f", "-o", "attr_timeout=0,entry_timeout=0,ac_attr_timeout=0", o.behind, o.mounted)
	o.bindfs.Stderr = s.Output()
	s.must(o.bindfs.Start())
	s.Cleanup(func() {
		_ = o.bindfs.Process.Signal(unix.SIGCONT)
		if exec.Command("fusermount", "-u", o.mounted).Run() != nil {
			_ = exec.Command("fusermount", "-u", "-z", o.mounted).Run()
		}
		_ = o.bindfs.Process.Kill()
		_ = o.bindfs.Wait()
	})
	o.until("it is mounted", func() bool { return mountPoint(o.mounted) == o.mounted })
	return o
}

// stops has the file system answer nobody.
func (o *outside) stops() {
	o.Helper()
	o.must(o.bindfs.Process.Signal(unix.SIGSTOP))
	o.until("it has stopped", func() bool {
		threads, _ := filepath.Glob("/proc/" + strconv.Itoa(o.bindfs.Process.Pid) + "/task/*/stat")
		return !slices.ContainsFunc(threads, func(stat string) bool {
			b, _ := os.ReadFile(stat)
			return !strings.Contains(string(b), ") T ")
		})
	})
}

// goesOn has it answer all who have asked meanwhile.
func (o *outside) goesOn() {
	o.Helper()
	o.must(o.bindfs.Process.Signal(unix.SIGCONT))
}

func (s *stage) until(what string, is func() bool) {
	s.Helper()
	for deadline := time.Now().Add(patience); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.Fatalf("not before the tests' patience is over: %s", what)
		}
	}
}

func (s *stage) untilLogged(text string) {
	s.Helper()
	s.until("the log says "+text, func() bool { return strings.Contains(s.log.String(), text) })
}

// within fails if something takes longer than it may.
func (s *stage) within(limit time.Duration, what string, do func()) {
	s.Helper()
	begun := time.Now()
	do()
	if took := time.Since(begun); took > limit {
		s.Errorf("%s took %v, more than %v", what, took, limit)
	}
}

// aBit is what a busy machine may add to a limit of time.
const aBit = 3 * time.Second

// waiting counts the goroutines of the package that are in a look.
func waiting() int {
	buf := make([]byte, 1<<20)
	n := 0
	for stack := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		if strings.Contains(stack, "watch.(*look)") {
			n++
		}
	}
	return n
}

const unanswered = "file system does not answer"

// TestFileSystemThatHangsDelaysNoStart shows also that the others are watched.
func TestFileSystemThatHangsDelaysNoStart(t *testing.T) {
	s := newStage(t)
	o := newOutside(s)
	s.write("behind/f", "1")
	s.write("behind/g", "1")
	s.write("f", "1")
	s.write("g", "1")
	o.stops()
	s.within(silence+aBit, "New", func() {
		s.watch(Options{Paths: []string{"f", "mounted/f", "mounted", "g"}})
	})
	if s.First() != (Content{}) {
		t.Error("First is not zero")
	}
	if got := s.log.String(); strings.Count(got, unanswered) != 1 || !strings.Contains(got, "path="+o.mounted) {
		t.Errorf("the log does not name what does not answer, once:\n%s", got)
	}
	if n := s.Errors(); n != 1 {
		t.Errorf("%d errors counted, want 1", n)
	}
	if n := waiting(); n != 1 {
		t.Errorf("%d goroutines wait, want 1", n)
	}
	s.write("g", "2")
	s.expect("g")
	o.goesOn()
	if diff := cmp.Diff([]string{s.path("mounted/f"), s.path("mounted")}, s.next()); diff != "" {
		t.Errorf("report of what was learned late (-want +got):\n%s", diff)
	}
	s.untilLogged("all right again")
	s.until("nothing is left behind", func() bool { return waiting() == 0 })
	s.write("g", "3")
	s.expect("g")
}

func (s *stage) next() []string {
	s.Helper()
	paths, err := s.audience.next()
	s.must(err)
	return paths
}

func TestChangeMadeWhileAFileSystemHungIsReported(t *testing.T) {
	s := newStage(t)
	o := newOutside(s)
	s.write("behind/f", "1")
	s.write("f", "1")
	s.watch(Options{Paths: []string{"mounted/f", "f"}, Poll: 100 * time.Millisecond})
	if s.First() == (Content{}) {
		t.Error("First is zero")
	}
	for _, turn := range []string{"2", "3"} {
		errors := s.Errors()
		o.stops()
		s.write("behind/f", turn)
		s.until("it is counted", func() bool { return s.Errors() > errors })
		s.write("f", turn)
		s.expect("f")
		o.goesOn()
		if diff := cmp.Diff([]string{s.path("mounted/f")}, s.next()); diff != "" {
			t.Errorf("report (-want +got):\n%s", diff)
		}
		s.until("it is all right again", func() bool {
			return strings.Count(s.log.String(), "all right again") == strings.Count(s.log.String(), unanswered)
		})
	}
	s.until("nothing is left behind", func() bool { return waiting() == 0 })
}

func TestFileSystemThatHungWithoutAChangeIsNoReport(t *testing.T) {
	s := newStage(t)
	o := newOutside(s)
	s.write("behind/f", "1")
	s.watch(Options{Paths: []string{"mounted/f"}, Poll: 100 * time.Millisecond})
	o.stops()
	s.untilLogged(unanswered)
	s.expect()
	o.goesOn()
	s.untilLogged("all right again")
	s.expect()
}

// TestSecondFileSystemThatHangsDelaysNoStart shows that what New has not come to
// is told later.
func TestSecondFileSystemThatHangsDelaysNoStart(t *testing.T) {
	s := newStage(t)
	s.write("f", "1")
	var both []*outside
	for _, name := range []string{"1", "2"} {
		sub := &stage{TB: t, dir: s.path(name)}
		sub.mkdir("")
		o := newOutside(sub)
		sub.write("behind/f", "1")
		o.stops()
		both = append(both, o)
	}
	s.within(2*silence+aBit, "New", func() {
		s.watch(Options{Paths: []string{"1/mounted/f", "2/mounted/f", "f"}})
	})
	if s.First() != (Content{}) {
		t.Error("First is not zero")
	}
	if got := s.next(); !slices.Contains(got, s.path("f")) {
		t.Errorf("reported %v, not f", got)
	}
	for i, o := range both {
		o.goesOn()
		if diff := cmp.Diff([]string{s.path([]string{"1", "2"}[i] + "/mounted/f")}, s.next()); diff != "" {
			t.Errorf("report (-want +got):\n%s", diff)
		}
	}
	s.until("nothing is left behind", func() bool { return waiting() == 0 })
}

func TestFirstLookThatHangsEndsWithItsContext(t *testing.T) {
	s := newStage(t)
	o := newOutside(s)
	o.stops()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	s.within(silence, "New", func() {
		w, err := New(ctx, Options{Paths: []string{o.mounted}, Log: slog.New(slog.DiscardHandler)})
		if w != nil || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("watcher %v and error %v, want that of the context", w, err)
		}
	})
	o.goesOn()
	s.until("nothing is left behind", func() bool { return waiting() == 0 })
}

func TestCloseEndsWhileAFileSystemHangs(t *testing.T) {
	for _, said := range []bool{false, true} {
		s := newStage(t)
		o := newOutside(s)
		s.write("behind/f", "1")
		s.watch(Options{Paths: []string{"mounted/f"}, Poll: 10 * time.Millisecond})
		o.stops()
		s.until("it is waited for", func() bool { return waiting() == 1 && s.asks() })
		if said {
			s.untilLogged(unanswered)
		}
		s.within(leaveAfter+aBit, "Close", func() { s.must(s.Close()) })
		if _, open := <-s.Changes(); open {
			t.Error("a change was reported")
		}
		if n := waiting(); n != 1 {
			t.Errorf("%d goroutines wait, want 1", n)
		}
		o.goesOn()
		s.until("nothing is left behind", func() bool { return waiting() == 0 })
	}
}

// asks says whether the system call of a thread is for a FUSE file system.
func (s *stage) asks() bool {
	tasks, _ := filepath.Glob("/proc/self/task/*/wchan")
	return slices.ContainsFunc(tasks, func(wchan string) bool {
		b, _ := os.ReadFile(wchan)
		return strings.Contains(string(b), "request_wait") || len(b) < 2 // not to be read everywhere
	})
}

func TestResolveTellsOfAFileSystemThatHangs(t *testing.T) {
	s := newStage(t)
	o := newOutside(s)
	s.write("behind/f", "1")
	s.write("f", "1")
	r, err := NewResolver(t.Context(), Options{Paths: []string{s.path("mounted/f"), s.path("f")}})
	s.must(err)
	resolve := func(limit time.Duration) []Resolved {
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		return r.Resolve(ctx)
	}
	good := []Resolved{
		{Path: s.path("mounted/f"), To: []string{s.path("mounted/f")}, Files: 1},
		{Path: s.path("f"), To: []string{s.path("f")}, Files: 1},
	}
	if diff := cmp.Diff(good, resolve(patience)); diff != "" {
		t.Errorf("resolved (-want +got):\n%s", diff)
	}
	o.stops()
	want := []Resolved{{Path: s.path("mounted/f"), Faults: []string{o.mounted + ": does not answer"}}, good[1]}
	if diff := cmp.Diff(want, resolve(aBit)); diff != "" {
		t.Errorf("resolved while it hangs (-want +got):\n%s", diff)
	}
	for range 100 {
		resolve(time.Millisecond)
	}
	s.until("one goroutine waits", func() bool { return waiting() == 1 })
	o.goesOn()
	s.until("nothing is left behind", func() bool { return waiting() == 0 })
	if diff := cmp.Diff(good, resolve(patience)); diff != "" {
		t.Errorf("resolved when it answers again (-want +got):\n%s", diff)
	}
}

func TestWorkingDirectoryThatHangsDelaysNoStart(t *testing.T) {
	s := newStage(t)
	o := newOutside(s)
	s.write("behind/f", "1")
	s.Chdir(o.mounted)
	o.stops()
	s.within(2*silence+aBit, "New", func() { s.raw(Options{Paths: []string{"f"}}) })
	s.untilLogged(unanswered)
	o.goesOn()
	if diff := cmp.Diff([]string{"f"}, s.next()); diff != "" {
		t.Errorf("report (-want +got):\n%s", diff)
	}
}
