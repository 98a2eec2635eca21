package envfile

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/stablehand/stablehand/internal/small"
)

// patience is for what is sure to come, on a machine however busy.
const patience = time.Minute

// place is a directory in which a test writes what is read.
type place struct {
	*testing.T
	dir string
}

func newPlace(t *testing.T) *place {
	before := runtime.NumGoroutine()
	t.Cleanup(func() {
		for until := time.Now().Add(patience); runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
			if time.Now().After(until) {
				t.Fatalf("%d goroutines are left", runtime.NumGoroutine()-before)
			}
		}
	})
	return &place{t, t.TempDir()}
}

func (p *place) path(name string) string { return filepath.Join(p.dir, name) }

func (p *place) must(err error) {
	p.Helper()
	if err != nil {
		p.Fatal(err)
	}
}

// write writes a file, and the directories above it.
func (p *place) write(name, content string) {
	p.Helper()
	p.must(os.MkdirAll(filepath.Dir(p.path(name)), 0o755))
	p.must(os.WriteFile(p.path(name), []byte(content), 0o644))
}

func (p *place) read(names ...string) ([]Variable, error) {
	p.Helper()
	ctx, cancel := context.WithTimeout(p.Context(), patience)
	defer cancel()
	var paths []string
	for _, name := range names {
		paths = append(paths, p.path(name))
	}
	vars, err := Read(ctx, paths)
	if ctx.Err() != nil {
		p.Fatal("it has taken longer than the tests' patience")
	}
	return vars, err
}

func (p *place) expect(want []Variable, names ...string) {
	p.Helper()
	got, err := p.read(names...)
	if err != nil {
		p.Errorf("%v:\n%v", names, err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		p.Errorf("%v (-want +got):\n%s", names, diff)
	}
}

// refuse expects an error of these lines, in which the directory is left out.
func (p *place) refuse(want []string, names ...string) {
	p.Helper()
	got, err := p.read(names...)
	if err == nil || got != nil {
		p.Errorf("%v: %d variables, %v; want an error only", names, len(got), err)
		return
	}
	if diff := cmp.Diff(want, strings.Split(strings.ReplaceAll(err.Error(), p.dir+"/", ""), "\n")); diff != "" {
		p.Errorf("errors of %v (-want +got):\n%s", names, diff)
	}
}

func TestALaterFileOrDirectoryWins(t *testing.T) {
	p := newPlace(t)
	p.write("1", "B=1\nA=1\nC=1\nD=1\n")
	p.write("2/B", "2")
	p.write("2/C", "2")
	p.write("3", "C=3\n")
	p.expect([]Variable{{"A", "1"}, {"B", "2"}, {"C", "3"}, {"D", "1"}}, "1", "2", "3")
	p.expect([]Variable{{"A", "1"}, {"B", "1"}, {"C", "1"}, {"D", "1"}}, "3", "2", "1")
	p.expect(nil)
}

func TestAllThatIsWrongIsToldAtOnce(t *testing.T) {
	p := newPlace(t)
	p.write("1", "A=1\nhunter2\n=hunter2\nB=1\n")
	p.write("2/A-B", "hunter2")
	p.write("2/C", "hunter2\x00")
	p.write("3", "STABLEHAND_WATCH=hunter2")
	p.refuse([]string{
		"1:2: there is no =: write NAME=value, or # before a comment",
		"1:3: this cannot be a variable's name: use A to Z, a to z, 0 to 9 and _ only, and no digit first",
		"2/A-B: this cannot be a variable's name: use A to Z, a to z, 0 to 9 and _ only, and no digit first",
		"2/C: there is a NUL in the value, which no variable can hold: encode the value, as in base64",
		"none: no such file or directory: see that it is there, and that this user may read it",
		"3:1: names that begin with STABLEHAND_ are for stablehand's own environment: set it there, or use another name",
	}, "1", "2", "none", "3")
}

func TestWhatCannotBeReadIsNamed(t *testing.T) {
	p := newPlace(t)
	p.write("file", "")
	p.must(os.Symlink("none", p.path("dangling")))
	p.must(os.Symlink("loop", p.path("loop")))
	p.must(unix.Mkfifo(p.path("fifo"), 0o600))
	p.must(os.Mkdir(p.path("directory"), 0o755))
	p.must(os.Symlink("none", p.path("directory/..data")))
	for name, want := range map[string]struct {
		line string
		is   error
	}{
		"none":       {"none: no such file or directory: see that it is there, and that this user may read it", fs.ErrNotExist},
		"dangling":   {"dangling: no such file or directory: see that it is there, and that this user may read it", fs.ErrNotExist},
		"loop":       {"loop: too many levels of symbolic links: see that it is there, and that this user may read it", unix.ELOOP},
		"file/below": {"file/below: not a directory: see that it is there, and that this user may read it", unix.ENOTDIR},
		"fifo":       {"fifo: it is no regular file: have a regular file there, or a directory", small.ErrNoFile},
		"directory":  {"directory/none: no such file or directory: see that it is there, and that this user may read it", fs.ErrNotExist},
	} {
		p.refuse([]string{want.line}, name)
		if _, err := p.read(name); !errors.Is(err, want.is) {
			t.Errorf("%s: %v is not %v", name, err, want.is)
		}
	}
}

func TestWhatTheUserMayNotReadIsNamed(t *testing.T) {
	if os.Geteuid() == 0 { // who may read everything
		asNobody(t)
		return
	}
	p := newPlace(t)
	p.write("file", "A=1")
	p.write("directory/A", "1")
	p.write("directory/lost+found/B", "1")
	p.must(os.Chmod(p.path("file"), 0))
	p.must(os.Chmod(p.path("directory/lost+found"), 0))
	t.Cleanup(func() { _ = os.Chmod(p.path("directory/lost+found"), 0o700) })
	p.refuse([]string{"file: permission denied: see that it is there, and that this user may read it"}, "file")
	p.expect([]Variable{{"A", "1"}}, "directory")
	p.must(os.Chmod(p.path("directory/A"), 0))
	p.refuse([]string{"directory/A: permission denied: see that it is there, and that this user may read it"}, "directory")
}

// asNobody runs the test as a user who may read next to nothing.
func asNobody(t *testing.T) {
	t.Helper()
	const nobody = 65534
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Dir, cmd.Env = "/", []string{"TMPDIR=/tmp"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("as user %d: %v\n%s", nobody, err, out)
	}
}

func TestEachErrorIsOneLine(t *testing.T) {
	p := newPlace(t)
	p.write("a\nb/c\nd", "")
	p.write("e\nf", "?")
	_, err := p.read("a\nb", "e\nf", "g\nh")
	if err == nil || strings.Count(err.Error(), "\n") != 2 {
		t.Errorf("not three lines:\n%v", err)
	}
	if _, err := Read(t.Context(), []string{""}); err == nil || !strings.HasPrefix(err.Error(), `"": `) {
		t.Errorf("no path: %v", err)
	}
}

func TestAFileOfAMebibyteIsReadAndNoLargerOne(t *testing.T) {
	p := newPlace(t)
	most := "A=1\n" + strings.Repeat("#", maxFile-4)
	p.write("most", most)
	p.write("more", most+"#")
	p.write("directory/A", most+"#")
	p.write("endless", "")
	p.must(os.Truncate(p.path("endless"), 1<<40))
	p.expect([]Variable{{"A", "1"}}, "most")
	large := ": it is larger than 1 MiB: see whether it is the right file: no environment is as large"
	p.refuse([]string{"more" + large, "directory/A" + large, "endless" + large}, "more", "directory", "endless")
}

// The kernel itself is asked what it takes.
func TestAVariableMayBeAsLongAsTheKernelLetsIt(t *testing.T) {
	p := newPlace(t)
	longest := strings.Repeat("x", maxEntry-len("A=")-1)
	p.write("directory/A", longest)
	p.expect([]Variable{{"A", longest}}, "directory")
	start := func(value string) error {
		cmd := exec.Command(os.Args[0], "-test.run=^$")
		cmd.Env = []string{"A=" + value, "GORACE=atexit_sleep_ms=0"}
		return cmd.Run()
	}
	p.must(start(longest))

	p.write("directory/A", longest+"x")
	p.refuse([]string{"directory/A: it is longer than the kernel lets a variable be: have the variable name a file with the value"}, "directory")
	if err := start(longest + "x"); !errors.Is(err, unix.E2BIG) {
		t.Errorf("the kernel took a longer one: %v", err)
	}
}

func TestVariablesTakeThePlaceOfThoseOfTheSameName(t *testing.T) {
	base := []string{"A=0", "B=0", "AB=0", "C", "A=00", "E="}
	before := append([]string(nil), base...)
	got := Merge(base, []Variable{{"A", "1=2"}, {"C", ""}, {"D", "1"}})
	if diff := cmp.Diff([]string{"B=0", "AB=0", "E=", "A=1=2", "C=", "D=1"}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if diff := cmp.Diff(before, base); diff != "" {
		t.Errorf("the environment that was given has changed:\n%s", diff)
	}
	if diff := cmp.Diff(before, Merge(base, nil)); diff != "" {
		t.Errorf("without variables (-want +got):\n%s", diff)
	}
}
