package reaper

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const deadline = time.Minute

// newReaper starts the one reaper that a process can have, for one test.
func newReaper(t *testing.T, source statusSource) *Reaper {
	t.Helper()
	r, err := start(source)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

// noSource stands for a kernel before 6.15, which keeps no status for a pidfd.
func noSource(int) (Status, bool) { return Status{}, true }

func sources(t *testing.T, test func(t *testing.T, source statusSource, maxUnknown int)) {
	t.Run("pidfd keeps the status", func(t *testing.T) {
		if !kernelKeepsStatus(t) {
			t.Skip("this kernel has no PIDFD_INFO_EXIT (Linux 6.15)")
		}
		test(t, fromPidfd, 0)
	})
	t.Run("status only from wait", func(t *testing.T) { test(t, noSource, 10) })
}

func kernelKeepsStatus(t *testing.T) bool {
	pidfd := -1
	cmd := exec.Command("true")
	cmd.SysProcAttr = &syscall.SysProcAttr{PidFD: &pidfd}
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pidfd)
	status, _ := fromPidfd(pidfd)
	return status.Known()
}

// A thousand children exit with known codes while each leaves ten orphans that
// die at the same moment: no zombie stays, no code is wrong, none is lost.
func TestStatusesAreExactInAStormOfOrphans(t *testing.T) {
	const children, atOnce = 1000, 2
	sources(t, func(t *testing.T, source statusSource, maxUnknown int) {
		r := newReaper(t, source)
		codes := make(chan int)
		var unknown int
		var mu sync.Mutex
		var all sync.WaitGroup
		for range atOnce {
			all.Go(func() {
				for want := range codes {
					status := dieWithOrphans(t, r, want)
					switch {
					case !status.Known():
						mu.Lock()
						unknown++
						mu.Unlock()
					case status.ExitCode() != want:
						t.Errorf("%v, want exit code %d", status, want)
					}
				}
			})
		}
		for n := range children {
			codes <- n % 256
		}
		close(codes)
		all.Wait()
		t.Logf("%d of %d statuses unknown", unknown, children)
		if unknown > maxUnknown {
			t.Errorf("%d of %d statuses unknown, want at most %d", unknown, children, maxUnknown)
		}
		awaitNoChildren(t)
	})
}

// dieWithOrphans starts a shell that has ten children and lets all eleven die
// at once, the shell with the given exit code.
func dieWithOrphans(t *testing.T, r *Reaper, code int) Status {
	const script = `for i in 1 2 3 4 5 6 7 8 9 10; do read _ <&0 & done; echo; read _; exit $1`
	stdin, hold := pipe(t)
	ready, stdout := pipe(t)
	p, err := r.Start([]string{"sh", "-c", script, "sh", fmt.Sprint(code)}, &syscall.ProcAttr{
		Env:   os.Environ(),
		Files: []uintptr{stdin.Fd(), stdout.Fd(), os.Stderr.Fd()},
	})
	if err != nil {
		t.Error(err)
		return Status{}
	}
	stdin.Close()
	stdout.Close()
	ready.Read(make([]byte, 1)) // all ten have been forked
	hold.Close()
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
		if left = Children(os.Getpid()); len(left) == 0 {
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
	sources(t, func(t *testing.T, source statusSource, _ int) {
		r := newReaper(t, source)
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
	sources(t, func(t *testing.T, source statusSource, _ int) {
		r := newReaper(t, source)
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
		if c := Children(pid); len(c) > 0 {
			return c[0]
		}
	}
	t.Fatalf("process %d gets no child", pid)
	return 0
}

// A process that never becomes our child tells its status once its own parent
// has reaped it, where the kernel keeps it; elsewhere it is unknown.
func TestStatusOfSomebodyElsesChild(t *testing.T) {
	sources(t, func(t *testing.T, source statusSource, maxUnknown int) {
		r := newReaper(t, source)
		parent := shell(t, r, `sh -c 'kill -STOP $$; exit 5' & while kill -0 $! 2>/dev/null; do wait $!; done; sleep 60`)
		child, err := r.Open(awaitChild(t, parent.PID()))
		if err != nil {
			t.Fatal(err)
		}
		awaitState(t, child.PID(), 'T')
		child.Signal(unix.SIGCONT)
		status := await(t, child)
		if known := maxUnknown == 0; status.Known() != known || known && status.ExitCode() != 5 {
			t.Errorf("status %v, want it known: %v", status, known)
		}
		parent.Signal(unix.SIGKILL)
		await(t, parent)
		awaitEnd(t)
	})
}

func awaitState(t *testing.T, pid int, state byte) {
	t.Helper()
	for end := time.Now().Add(deadline); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if info, err := Stat(pid); err == nil && info.State == state {
			return
		}
	}
	t.Fatalf("process %d does not get to state %c", pid, state)
}

func TestStatTellsWhoExits(t *testing.T) {
	sleep := exec.Command("sleep", "3600")
	if err := sleep.Start(); err != nil {
		t.Fatal(err)
	}
	pid := sleep.Process.Pid
	if info, err := Stat(pid); err != nil || info.Exiting {
		t.Errorf("%+v, %v before its end", info, err)
	}
	sleep.Process.Kill()
	awaitState(t, pid, 'Z')
	if info, err := Stat(pid); err != nil || !info.Exiting {
		t.Errorf("%+v, %v at its end", info, err)
	}
	sleep.Wait()
}

// awaitEnd ends what a test may have left behind.
func awaitEnd(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	if err := End(ctx, func() []Info { return Descendants(os.Getpid()) }); err != nil {
		t.Error(err)
	}
	awaitNoChildren(t)
}

func TestSignalAfterTheEndIsRefused(t *testing.T) {
	r := newReaper(t, fromPidfd)
	p := shell(t, r, "exit 0")
	await(t, p)
	if err := p.Signal(unix.SIGTERM); err != os.ErrProcessDone {
		t.Errorf("signal to a process that is gone: %v, want os.ErrProcessDone", err)
	}
}

func TestMissingProgramIsTold(t *testing.T) {
	r := newReaper(t, fromPidfd)
	_, err := r.Start([]string{"no-such-program"}, &syscall.ProcAttr{})
	if err == nil || !strings.Contains(err.Error(), "no-such-program") {
		t.Errorf("error %v does not name the program", err)
	}
}

func TestStoppedIsSeenOnce(t *testing.T) {
	r := newReaper(t, fromPidfd)
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

// A tree that forks while it is being killed is ended all the same.
func TestEndLeavesNothingOfATree(t *testing.T) {
	r := newReaper(t, fromPidfd)
	p := shell(t, r, `trap '' TERM HUP INT
		grow() { (sleep 60 & sleep 60) & (setsid sh -c 'sleep 60 & sleep 60') & }
		for i in 1 2 3 4 5; do grow; done; while :; do sleep 0.01 & wait $!; done`)
	awaitChild(t, p.PID())
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	if err := End(ctx, func() []Info { return Descendants(os.Getpid()) }); err != nil {
		t.Fatal(err)
	}
	if status := await(t, p); status.Signal() != unix.SIGKILL {
		t.Errorf("%v, want killed by SIGKILL", status)
	}
	awaitNoChildren(t)
}
