package envfile

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stablehand/stablehand/internal/small"
)

// outside is a file system of its own, which a test can keep from answering.
type outside struct {
	*place
	bindfs *exec.Cmd
}

// newOutside mounts what is in the directory behind at the directory mounted.
func newOutside(p *place) *outside {
	p.Helper()
	if testing.Short() {
		p.Skip("a file system that hangs takes seconds")
	}
	for _, tool := range []string{"bindfs", "fusermount"} {
		if _, err := exec.LookPath(tool); err != nil {
			p.Skip("no file system to stop:", err)
		}
	}
	fuse, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		p.Skip("no file system to stop:", err)
	}
	fuse.Close()
	o := &outside{place: p}
	p.must(os.Mkdir(p.path("mounted"), 0o755))
	// Nothing is answered from the kernel's memory.
	o.bindfs = exec.Command("bindfs", "-f", "-o", "attr_timeout=0,entry_timeout=0,ac_attr_timeout=0", p.path("behind"), p.path("mounted"))
	o.bindfs.Stderr = p.Output()
	p.must(o.bindfs.Start())
	p.Cleanup(func() {
		o.goesOn()
		if exec.Command("fusermount", "-u", p.path("mounted")).Run() != nil {
			_ = exec.Command("fusermount", "-u", "-z", p.path("mounted")).Run()
		}
		_ = o.bindfs.Process.Kill()
		_ = o.bindfs.Wait()
	})
	o.until("it is mounted", func() bool {
		var stat unix.Statfs_t
		return unix.Statfs(p.path("mounted"), &stat) == nil && stat.Type == unix.FUSE_SUPER_MAGIC
	})
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
func (o *outside) goesOn() { _ = o.bindfs.Process.Signal(unix.SIGCONT) }

func (o *outside) until(what string, is func() bool) {
	o.Helper()
	for deadline := time.Now().Add(patience); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			o.Fatalf("not before the tests' patience is over: %s", what)
		}
	}
}

// The others are judged all the same, also those that come later. That nothing is
// left when it answers again is seen at the end, as in every test.
func TestAFileSystemThatHangsIsLeftToItself(t *testing.T) {
	p := newPlace(t)
	p.write("behind/file", "A=1\n")
	p.write("behind/directory/B", "2")
	p.write("directory/C", "3")
	p.must(os.Symlink("../mounted/directory/B", p.path("directory/B")))
	p.write("good", "D=4\n")
	p.write("bad", "hunter2")
	o := newOutside(p)
	p.expect([]Variable{{"A", "1"}, {"B", "2"}, {"C", "3"}, {"D", "4"}}, "mounted/file", "mounted/directory", "directory", "good")

	o.stops()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second) // for those that answer, on a busy machine
	defer cancel()
	var paths []string
	for _, name := range []string{"mounted/file", "mounted/directory", "directory", "good", "bad"} {
		paths = append(paths, p.path(name))
	}
	_, err := Read(ctx, paths)
	hangs := ": its file system hangs: see what is mounted there, and whether its other side is alive\n"
	want := paths[0] + hangs + paths[1] + hangs + paths[2] + hangs + paths[4] + ":1: " + noSeparator.wrong + ": " + noSeparator.right
	if err == nil || err.Error() != want || !errors.Is(err, small.ErrHangs) {
		t.Errorf("got:\n%v\nwant:\n%s", err, want)
	}

	o.goesOn()
	p.expect([]Variable{{"A", "1"}, {"B", "2"}}, "mounted/file", "mounted/directory")
}
