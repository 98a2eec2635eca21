package reaper

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stablehand/stablehand/internal/deaf"
	"github.com/stablehand/stablehand/internal/proc"
)

const deadline = time.Minute

// newReaper starts the one reaper that a process can have, for one test.
func newReaper(t *testing.T, told bool) *Reaper {
	t.Helper()
	r, err := start(told)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

// kernels runs a test in both of the reaper's ways, as far as this kernel lets.
func kernels(t *testing.T, test func(t *testing.T, told bool)) {
	t.Run("told by pidfds", func(t *testing.T) {
		if !pidfdsTell() {
			t.Skip("no pidfd keeps a status here (Linux 6.15)")
		}
		test(t, true)
	})
	t.Run("waiting by pid", func(t *testing.T) { test(t, false) })
}

func TestReleaseIsComparedByNumbers(t *testing.T) {
	for release, want := range map[string]bool{
		"6.15.0": true, "6.15.0-rc1": true, "6.18.44-fc-v782": true, "7.0.1": true, "10.1": true,
		"6.14.11": false, "6.1.0-13-amd64": false, "6.2": false, "5.15.0": false, "": false, "next": false,
	} {
		if got := atLeast(release, 6, 15); got != want {
			t.Errorf("%q is 6.15 or newer: %v", release, got)
		}
	}
}

// Ten thousand children exit with known codes, eight at a time, while each
// leaves ten orphans that die at the same moment: no zombie stays, no code is
// wrong, none is lost.
func TestStatusesAreExactInAStormOfOrphans(t *testing.T) {
	children, atOnce := 10000, 8
	if testing.Short() {
		children = 500
	}
	kernels(t, func(t *testing.T, told bool) {
		r := newReaper(t, told)
		codes := make(chan int)
		var unknown, wrong atomic.Int64
		var all sync.WaitGroup
		for range atOnce {
			all.Go(func() {
				for want := range codes {
					switch status := dieWithOrphans(t, r, want); {
					case !status.Known():
						unknown.Add(1)
					case status.ExitCode() != want:
						wrong.Add(1)
					}
				}
			})
		}
		for n := range children {
			codes <- n % 256
		}
		close(codes)
		all.Wait()
		awaitNoChildren(t)
		t.Logf("%d exits: %d unknown, %d wrong; %d reaped", children, unknown.Load(), wrong.Load(), r.Reaped())
		if want := int64(children) * (1 + orphans); r.Reaped() != want {
			t.Errorf("%d reaped, want %d", r.Reaped(), want)
		}
		if unknown.Load() != 0 || wrong.Load() != 0 {
			t.Errorf("of %d exits %d unknown and %d wrong, want none", children, unknown.Load(), wrong.Load())
		}
	})
}

// orphans is how many dieWithOrphans leaves.
const orphans = 10

// dieWithOrphans starts a shell that has ten children, and has it exit with the
// given code. The ten end when the shell does: it alone holds the other end of
// what they read from.
func dieWithOrphans(t *testing.T, r *Reaper, code int) Status {
	const script = `for i in 1 2 3 4 5 6 7 8 9 10; do (exec 4>&-; read _ <&3) & done; echo; read _; exit $1`
	stdin, release := pipe(t)
	ready, stdout := pipe(t)
	theirs, alive := pipe(t)
	p, err := r.Start([]string{"sh", "-c", script, "sh", fmt.Sprint(code)}, &syscall.ProcAttr{
		Env:   os.Environ(),
		Files: []uintptr{stdin.Fd(), stdout.Fd(), os.Stderr.Fd(), theirs.Fd(), alive.Fd()},
	})
	if err != nil {
		t.Error(err)
		return Status{}
	}
	for _, f := range []*os.File{stdin, stdout, theirs, alive} {
		f.Close()
	}
	ready.Read(make([]byte, 1)) // all ten have been forked
	release.Close()
	defer ready.Close()
	return await(t, p)
}

func pipe(t *testing.T) (r, w *os.File) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	return r, w
}

func await(t *testing.T, p *Process) Status {
	t.Helper()
	select {
	case <-p.Done():
		return p.Status()
	case <-time.After(deadline):
		t.Errorf("process %d is not done", p.PID())
		return Status{}
	}
}

// awaitNoChildren waits until this process has no child left, dead or alive.
func awaitNoChildren(t *testing.T) {
	t.Helper()
	var left []int
	for end := time.Now().Add(deadline); time.Now().Before(end); time.Sleep(time.Millisecond) {
		var err error
		if left, err = proc.Children(os.Getpid()); err == nil && len(left) == 0 {
			return
		}
	}
	t.Errorf("%d children left, the first is %d", len(left), left[0])
}

// shell starts a shell script.
func shell(t *testing.T, r *Reaper, script string, args ...string) *Process {
	t.Helper()
	p, err := r.Start(append([]string{"sh", "-c", script, "sh"}, args...), &syscall.ProcAttr{
		Env:   os.Environ(),
		Files: []uintptr{0, 1, 2},
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestStatusSaysHowAProcessEnded(t *testing.T) {
	kernels(t, func(t *testing.T, told bool) {
		r := newReaper(t, told)
		for _, test := range []struct {
			script, want string
			code         int
		}{
			{"exit 0", "exit code 0", 0},
			{"exit 3", "exit code 3", 3},
			{"kill -9 $$", "killed by SIGKILL", 137},
			{"kill -15 $$", "killed by SIGTERM", 143},
		} {
			status := await(t, shell(t, r, test.script))
			if status.String() != test.want || status.ExitCode() != test.code {
				t.Errorf("%s: %v, to exit with %d", test.script, status, status.ExitCode())
			}
		}
	})
}

func TestUnknownStatusIsNotMadeUp(t *testing.T) {
	var s Status
	if s.Known() || s.ExitCode() != 1 || s.String() != "exit status unknown" {
		t.Errorf("zero Status: known %v, %d, %q", s.Known(), s.ExitCode(), s)
	}
}

// A grandchild that becomes ours when its parent goes, as a promoted gunicorn
// master does, counts the same as a process that we started.
func TestInheritedProcessKeepsItsStatus(t *testing.T) {
	kernels(t, func(t *testing.T, told bool) {
		r := newReaper(t, told)
		for range 50 {
			dir := t.TempDir()
			childFifo, parentFifo := mkfifo(t, dir, "child"), mkfifo(t, dir, "parent")
			parent := shell(t, r, `sh -c 'read _ <"$1"; exit 7' sh "$1" & read _ <"$2"`, childFifo, parentFifo)
			grandchild, err := r.Open(awaitChild(t, parent.PID()))
			if err != nil {
				t.Fatal(err)
			}
			release(t, parent, parentFifo)
			await(t, parent)
			release(t, grandchild, childFifo)
			if status := await(t, grandchild); status.ExitCode() != 7 || !status.Known() {
				t.Fatalf("inherited process: %v, want exit code 7", status)
			}
		}
		awaitNoChildren(t)
	})
}

func mkfifo(t *testing.T, dir, name string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// release lets a process that reads from the fifo, or soon will, go on.
func release(t *testing.T, p *Process, fifo string) {
	t.Helper()
	f, err := os.OpenFile(fifo, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(f)
	go func() {
		<-p.Done()
		f.Close()
	}()
}

func awaitChild(t *testing.T, pid int) int {
	t.Helper()
	for end := time.Now().Add(deadline); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if c, err := proc.Children(pid); err == nil && len(c) > 0 {
			return c[0]
		}
	}
	t.Fatalf("process %d gets no child", pid)
	return 0
}

// A process that never becomes our child tells its status once its own parent
// has reaped it, where the kernel keeps it; elsewhere it is known if it was seen
// dead before that, and never wrong.
func TestStatusOfSomebodyElsesChild(t *testing.T) {
	kernels(t, func(t *testing.T, told bool) {
		r := newReaper(t, told)
		parent := shell(t, r, `sh -c 'kill -STOP $$; exit 5' & while kill -0 $! 2>/dev/null; do wait $!; done; sleep 60`)
		child, err := r.Open(awaitChild(t, parent.PID()))
		if err != nil {
			t.Fatal(err)
		}
		awaitState(t, child.PID(), 'T')
		child.Signal(unix.SIGCONT)
		status := await(t, child)
		if told && !status.Known() || status.Known() && status.ExitCode() != 5 {
			t.Errorf("status %v, want exit code 5", status)
		}
		parent.Signal(unix.SIGKILL)
		await(t, parent)
		awaitEnd(t)
	})
}

// A parent that does not wait for its children keeps their statuses from nobody.
func TestStatusOfAZombie(t *testing.T) {
	kernels(t, func(t *testing.T, told bool) {
		r := newReaper(t, told)
		var parents, zombies []*Process
		ends := map[string]string{"exit 0": "exit code 0", "exit 5": "exit code 5", "kill -9 $$": "killed by SIGKILL"}
		scripts := slices.Sorted(maps.Keys(ends))
		for _, script := range scripts {
			parent := shell(t, r, `sh -c 'kill -STOP $$; `+script+`' & exec sleep 60`)
			zombie, err := r.Open(awaitChild(t, parent.PID()))
			if err != nil {
				t.Fatal(err)
			}
			awaitState(t, zombie.PID(), 'T')
			zombie.Signal(unix.SIGCONT)
			parents, zombies = append(parents, parent), append(zombies, zombie)
		}
		for i, script := range scripts {
			if status := await(t, zombies[i]); status.String() != ends[script] {
				t.Errorf("%s: %v, want %s", script, status, ends[script])
			}
		}
		for _, parent := range parents {
			parent.Signal(unix.SIGKILL)
			await(t, parent)
		}
		awaitEnd(t)
	})
}

func awaitState(t *testing.T, pid int, state byte) {
	t.Helper()
	for end := time.Now().Add(deadline); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if info, err := proc.Stat(pid); err == nil && info.State == state {
			return
		}
	}
	t.Fatalf("process %d does not get to state %c", pid, state)
}

// awaitEnd ends what a test may have left behind.
func awaitEnd(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	if err := proc.End(ctx, func() ([]proc.Info, error) { return proc.Descendants(os.Getpid()) }); err != nil {
		t.Error(err)
	}
	awaitNoChildren(t)
}

func TestSignalAfterTheEndIsRefused(t *testing.T) {
	r := newReaper(t, pidfdsTell())
	p := shell(t, r, "exit 0")
	await(t, p)
	if err := p.Signal(unix.SIGTERM); err != os.ErrProcessDone {
		t.Errorf("signal to a process that is gone: %v, want os.ErrProcessDone", err)
	}
}

func TestMissingProgramIsTold(t *testing.T) {
	r := newReaper(t, pidfdsTell())
	_, err := r.Start([]string{"no-such-program"}, &syscall.ProcAttr{})
	if err == nil || !strings.Contains(err.Error(), "no-such-program") {
		t.Errorf("error %v does not name the program", err)
	}
}

// A command's program is looked for where the command begins, with its own PATH, and
// not where we are.
func TestProgramIsLookedUpAsAShellWouldThere(t *testing.T) {
	dir := t.TempDir()
	for _, sub := range []string{"ours", "theirs", "here/bin"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for file, code := range map[string]string{"ours/prog": "1", "theirs/prog": "2", "here/bin/prog": "3", "here/prog": "4"} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte("#!/bin/sh\nexit "+code+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir+"/ours")
	r := newReaper(t, pidfdsTell())
	for _, one := range []struct {
		word, path string
		code       int
	}{
		{"prog", "PATH=" + dir + "/none:" + dir + "/theirs", 2},
		{"prog", "PATH=bin", 3},
		{"prog", "PATH=:" + dir + "/theirs", 4},
		{"bin/prog", "PATH=" + dir + "/theirs", 3},
		{"./prog", "", 4},
		{dir + "/theirs/prog", "", 2},
	} {
		p, err := r.Start([]string{one.word}, &syscall.ProcAttr{Dir: dir + "/here", Env: []string{"PATH=/nowhere", one.path}})
		if err != nil {
			t.Errorf("%s with %s: %v", one.word, one.path, err)
		} else if code := p.Status().ExitCode(); code != one.code {
			t.Errorf("%s with %s exits with %d, want %d", one.word, one.path, code, one.code)
		}
	}
	if _, err := r.Start([]string{"prog"}, &syscall.ProcAttr{Env: []string{"PATH=" + dir}}); !errors.Is(err, exec.ErrNotFound) {
		t.Errorf("error %v of a program that is in our PATH only, want exec.ErrNotFound", err)
	}
	p, err := r.Start([]string{"prog"}, &syscall.ProcAttr{})
	if err != nil || p.Status().ExitCode() != 1 {
		t.Errorf("with our own environment: %v", err)
	}
}

// Who starts a command may do so on a thread that takes no signal: the command takes
// them all the same.
func TestNoSignalIsBlockedInACommand(t *testing.T) {
	kernels(t, func(t *testing.T, told bool) {
		r := newReaper(t, told)
		deaf.Call(func() {
			p, err := r.Start([]string{"/bin/sh", "-c", "exec grep -q '^SigBlk:.0*$' /proc/self/status"}, &syscall.ProcAttr{})
			if err != nil || p.Status().ExitCode() != 0 {
				t.Errorf("signals are blocked in it: %v", err)
			}
		})
	})
}

// The child that a failed start leaves is reaped, whoever comes first to it.
func TestFailedStartsAreToldAndLeaveNothing(t *testing.T) {
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain")
	if err := os.WriteFile(plain, []byte("no program"), 0o755); err != nil {
		t.Fatal(err)
	}
	kernels(t, func(t *testing.T, told bool) {
		r := newReaper(t, told)
		for range 200 {
			if _, err := r.Start([]string{"no-such-program"}, &syscall.ProcAttr{}); !errors.Is(err, exec.ErrNotFound) {
				t.Fatalf("error %v, want exec.ErrNotFound", err)
			}
			if _, err := r.Start([]string{dir + "/none"}, &syscall.ProcAttr{}); !errors.Is(err, fs.ErrNotExist) {
				t.Fatalf("error %v, want fs.ErrNotExist", err)
			}
			if _, err := r.Start([]string{plain}, &syscall.ProcAttr{}); !errors.Is(err, unix.ENOEXEC) {
				t.Fatalf("error %v, want ENOEXEC", err)
			}
		}
		awaitNoChildren(t)
	})
}

// A child that dies before anybody has begun to reap is reaped all the same.
func TestZombieFromBeforeTheReaperIsReaped(t *testing.T) {
	kernels(t, func(t *testing.T, told bool) {
		for range 50 {
			cmd := exec.Command("true")
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			awaitState(t, cmd.Process.Pid, 'Z')
			r, err := start(told)
			if err != nil {
				t.Fatal(err)
			}
			awaitNoChildren(t)
			r.Close()
		}
	})
}

// Whoever dies as another's child and then becomes ours keeps its status, also
// where only waiting tells it.
func TestZombieThatIsInheritedKeepsItsStatus(t *testing.T) {
	kernels(t, func(t *testing.T, told bool) {
		r := newReaper(t, told)
		fifo := mkfifo(t, t.TempDir(), "child")
		parent := shell(t, r, `sh -c 'read _ <"$1"; exit 7' sh "$1" & kill -STOP $$`, fifo)
		child, err := r.Open(awaitChild(t, parent.PID()))
		if err != nil {
			t.Fatal(err)
		}
		awaitState(t, parent.PID(), 'T')
		release(t, child, fifo)
		awaitState(t, child.PID(), 'Z')
		parent.Signal(unix.SIGKILL)
		if status := await(t, child); status.ExitCode() != 7 {
			t.Errorf("%v, want exit code 7", status)
		}
		awaitNoChildren(t)
	})
}

func TestStoppedIsSeenOnce(t *testing.T) {
	r := newReaper(t, pidfdsTell())
	p := shell(t, r, "kill -STOP $$; exit 4")
	awaitState(t, p.PID(), 'T')
	if !p.Stopped() {
		t.Error("the stop is not seen")
	}
	if p.Stopped() {
		t.Error("the stop is seen twice")
	}
	p.Signal(unix.SIGCONT)
	if status := await(t, p); status.ExitCode() != 4 {
		t.Errorf("%v, want exit code 4", status)
	}
}
