package proc

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const deadline = time.Minute

// starved in the environment makes the test's program show what becomes of a
// process that has used up its descriptors.
const starved = "PROC_TEST_STARVED"

func TestMain(m *testing.M) {
	if os.Getenv(starved) != "" {
		os.Exit(starve(os.Getenv(starved) == "reserve"))
	}
	if os.Getenv(envShares) != "" {
		os.Exit(tellShares(os.Getenv(envShares)))
	}
	os.Exit(m.Run())
}

// script starts a shell, and returns once it has written a line.
func script(t *testing.T, text string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("sh", "-c", text)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	return cmd
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

// dead is the pid of a process that is gone.
func dead(t *testing.T) int {
	t.Helper()
	cmd := exec.Command("true")
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	return cmd.Process.Pid
}

func TestStatTellsWhoExits(t *testing.T) {
	pid := script(t, "echo; exec sleep 3600").Process.Pid
	if info, err := Stat(pid); err != nil || info.Exiting || !info.Alive() || info.Parent != os.Getpid() {
		t.Errorf("%+v, %v before its end", info, err)
	}
	unix.Kill(pid, unix.SIGKILL)
	awaitState(t, pid, 'Z')
	if info, err := Stat(pid); err != nil || !info.Exiting || info.Alive() {
		t.Errorf("%+v, %v at its end", info, err)
	}
}

func TestWhoIsGoneHasNoChildrenAndIsNoError(t *testing.T) {
	pid := dead(t)
	if _, err := Stat(pid); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("Stat: %v, want os.ErrProcessDone", err)
	}
	if _, err := Open(pid); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("Open: %v, want os.ErrProcessDone", err)
	}
	if children, err := Children(pid); err != nil || len(children) > 0 {
		t.Errorf("Children: %v, %v", children, err)
	}
	if tree, err := Tree(pid); err != nil || len(tree) > 0 {
		t.Errorf("Tree: %v, %v", tree, err)
	}
	if err := Kill([]Info{{PID: pid}}, unix.SIGKILL); err != nil {
		t.Errorf("Kill: %v", err)
	}
	if Alive(pid) {
		t.Error("it counts as alive")
	}
}

func TestTreeListsParentsFirstAndCanLeaveOutABranch(t *testing.T) {
	top := script(t, `sh -c 'sleep 60 & wait' & sh -c 'sleep 60 & echo; wait' & wait`).Process.Pid
	var tree []Info
	for end := time.Now().Add(deadline); len(tree) != 5 && time.Now().Before(end); time.Sleep(time.Millisecond) {
		var err error
		if tree, err = Tree(top); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { Kill(tree, unix.SIGKILL) })
	if len(tree) != 5 || tree[0].PID != top {
		t.Fatalf("%+v, want five processes from %d down", tree, top)
	}
	for i, info := range tree[1:] {
		if !slices.ContainsFunc(tree[:i+1], func(above Info) bool { return above.PID == info.Parent }) {
			t.Errorf("%+v stands before its parent", info)
		}
	}
	without, err := TreeWithout(top, tree[1].PID)
	if err != nil || len(without) != 3 {
		t.Errorf("%+v, %v without a branch, want three processes", without, err)
	}
}

func TestMergeKeepsEachProcessOnce(t *testing.T) {
	one, two, later := Info{PID: 1, Started: 1}, Info{PID: 2, Started: 1}, Info{PID: 1, Started: 2}
	got := Merge([]Info{one, two}, []Info{two, later, one})
	if !slices.Equal(got, []Info{one, two, later}) {
		t.Errorf("%+v", got)
	}
}

func TestSignalsReachNobodyWhoHasThePidLater(t *testing.T) {
	cmd := script(t, "echo; exec sleep 60")
	info, err := Stat(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	info.Started--
	if err := Kill([]Info{info}, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if !Alive(info.PID) {
		t.Error("another process was killed")
	}
}

// errTable stands for a process table that cannot be read.
var errTable = errors.New("no descriptor left")

func TestWhatCannotBeListedIsNotGone(t *testing.T) {
	unread := func() ([]Info, error) { return nil, errTable }
	if Gone(t.Context(), unread, 3*lookEvery) {
		t.Error("Gone takes an error for emptiness")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*lookEvery)
	defer cancel()
	if err := End(ctx, unread); !errors.Is(err, errTable) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("End: %v, want both errors", err)
	}
	if err := Terminate(ctx, unread, lookEvery); !errors.Is(err, errTable) {
		t.Errorf("Terminate: %v, want the list's error", err)
	}
}

func TestEndGoesOnWhereTheListComesBack(t *testing.T) {
	pid := script(t, "echo; exec sleep 60").Process.Pid
	looks := 0
	list := func() ([]Info, error) {
		if looks++; looks < 5 {
			return nil, errTable
		}
		return Tree(pid)
	}
	if err := End(t.Context(), list); err != nil {
		t.Fatal(err)
	}
	awaitState(t, pid, 'Z')
}

func TestEndKillsWhatAnIncompleteListHas(t *testing.T) {
	pid := script(t, "echo; exec sleep 60").Process.Pid
	list := func() ([]Info, error) {
		tree, _ := Tree(pid)
		return tree, errTable
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*lookEvery)
	defer cancel()
	if err := End(ctx, list); !errors.Is(err, errTable) {
		t.Errorf("%v, want the list's error", err)
	}
	awaitState(t, pid, 'Z')
}

func TestTerminateAsksBeforeItKills(t *testing.T) {
	polite := script(t, "trap 'exit 5' TERM; echo; while :; do sleep 0.01; done")
	deaf := script(t, "trap '' TERM; echo; while :; do sleep 0.01; done")
	err := Terminate(t.Context(), func() ([]Info, error) {
		one, err := Tree(polite.Process.Pid)
		two, err2 := Tree(deaf.Process.Pid)
		return Merge(one, two), errors.Join(err, err2)
	}, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	polite.Wait()
	deaf.Wait()
	if code := polite.ProcessState.ExitCode(); code != 5 {
		t.Errorf("the one that listens: %v, want exit code 5", polite.ProcessState)
	}
	if got := deaf.ProcessState.String(); got != "signal: killed" {
		t.Errorf("the one that does not: %s", got)
	}
}

// A tree that forks while it is being killed is ended all the same.
func TestEndLeavesNothingOfATree(t *testing.T) {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	defer unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
	script(t, `trap '' TERM HUP INT
		grow() { (sleep 60 & sleep 60) & (setsid sh -c 'sleep 60 & sleep 60') & }
		for i in 1 2 3 4 5; do grow; done; echo; while :; do sleep 0.01 & wait $!; done`)
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	ours := func() ([]Info, error) { return Descendants(os.Getpid()) }
	if err := End(ctx, ours); err != nil {
		t.Fatal(err)
	}
	children, err := Children(os.Getpid())
	for _, pid := range children {
		if Alive(pid) {
			t.Errorf("process %d lives", pid)
		}
		unix.Wait4(pid, nil, unix.WNOHANG, nil)
	}
	if err != nil {
		t.Error(err)
	}
}

func TestWhatAProcessSaysOfItself(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command("sh", "-c", `trap : USR2; echo; read _`, "word", "")
	cmd.Dir, cmd.Env = dir, []string{"ONE=1", "EMPTY=", "TWO=a=b"}
	in, _ := cmd.StdinPipe()
	out, _ := cmd.StdoutPipe()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer in.Close()
	out.Read(make([]byte, 1)) // the trap is set
	pid := cmd.Process.Pid
	if words, err := Cmdline(pid); err != nil || len(words) < 4 || words[0] != "sh" || words[3] != "word" {
		t.Errorf("command line %q, %v", words, err)
	}
	for name, want := range map[string]string{"ONE": "1", "EMPTY": "", "TWO": "a=b", "NONE": ""} {
		if got, err := Environ(pid, name); err != nil || got != want {
			t.Errorf("%s=%s, %v, want %s", name, got, err, want)
		}
	}
	for sig, want := range map[unix.Signal]bool{unix.SIGUSR2: true, unix.SIGUSR1: false} {
		if got, err := Catches(pid, sig); err != nil || got != want {
			t.Errorf("catches %v: %v, %v, want %v", sig, got, err, want)
		}
	}
	if got, err := Count(pid, "Tgid"); err != nil || got != uint64(pid) {
		t.Errorf("Tgid %d, %v, want %d", got, err, pid)
	}
	if got, err := Dir(pid); err != nil || got != dir {
		t.Errorf("working directory %s, %v, want %s", got, err, dir)
	}
	list, err := Descriptors(pid)
	if err != nil || !slices.ContainsFunc(list, func(d Descriptor) bool { return strings.HasPrefix(d.Target, "pipe:") }) {
		t.Errorf("descriptors %v, %v, want a pipe among them", list, err)
	}
}

func TestWhatIsKeptFromUsIsAnError(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, to be somebody else")
	}
	done := make(chan error, 2)
	go func() {
		// The thread is not given back, and ends with its user.
		runtime.LockOSThread()
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, 65534, 65534, 65534); errno != 0 {
			done <- errno
			done <- errno
			return
		}
		_, err := Environ(os.Getppid(), "PATH")
		done <- err
		_, err = Descriptors(os.Getppid())
		done <- err
	}()
	for range 2 {
		if err := <-done; !errors.Is(err, fs.ErrPermission) {
			t.Errorf("%v, want fs.ErrPermission", err)
		}
	}
}

// A process that has no descriptor left sees its children and ends them, out of
// its reserve; without one it is told that it cannot see them.
func TestATreeIsEndedWithoutADescriptorLeft(t *testing.T) {
	for _, how := range []string{"reserve", "none"} {
		t.Run(how, func(t *testing.T) {
			program, err := os.Executable()
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(program)
			cmd.Env = append(os.Environ(), starved+"="+how)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
}

// starve uses up all descriptors but the reserve, and returns 0 if what is
// promised then is kept.
func starve(reserve bool) int {
	if reserve {
		Hold()
	}
	cmd := exec.Command("sh", "-c", "for i in 1 2 3 4; do sleep 60 & done; echo; wait")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return failed(err)
	}
	if err := cmd.Start(); err != nil {
		return failed(err)
	}
	out.Read(make([]byte, 1)) // all four are there
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 64, Max: 64}); err != nil {
		return failed(err)
	}
	for {
		if _, err := unix.Open("/dev/null", unix.O_RDONLY, 0); err == unix.EMFILE {
			break
		} else if err != nil {
			return failed(err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	ours := func() ([]Info, error) { return Descendants(os.Getpid()) }
	list, err := ours()
	if !reserve {
		unix.Kill(-cmd.Process.Pid, unix.SIGKILL)
		if !errors.Is(err, unix.EMFILE) || len(list) > 0 {
			return failed(fmt.Errorf("%v, %w, want EMFILE", list, err))
		}
		if Gone(ctx, ours, time.Millisecond) {
			return failed(errors.New("what cannot be listed counts as gone"))
		}
		return 0
	}
	if err != nil || len(list) != 5 {
		return failed(fmt.Errorf("%v, %w, want five processes", list, err))
	}
	if err := End(ctx, ours); err != nil {
		return failed(err)
	}
	if len(held.spare) != spares {
		return failed(fmt.Errorf("%d of %d descriptors are in reserve again", len(held.spare), spares))
	}
	return 0
}

func failed(err error) int {
	fmt.Println(err)
	return 1
}

func TestAppendedIsWhereALogMayStand(t *testing.T) {
	dir := t.TempDir()
	file := func(name string) string { return dir + "/" + name }
	cmd := script(t, fmt.Sprintf(`exec 2>%s 3>>%s 4<%s 5>%s 6>>%s 7>>/dev/null 8>>%s
rm %s
echo; exec sleep 3600`, file("errors"), file("log"), file("log"), file("once"), file("other"), file("gone"), file("gone")))
	paths, err := Appended(cmd.Process.Pid)
	if want := []string{file("errors"), file("log"), file("other")}; err != nil || !slices.Equal(paths, want) {
		t.Errorf("%v, %v, want %v", paths, err, want)
	}
	if paths, err := Appended(dead(t)); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("%v, %v of one that is gone", paths, err)
	}
}
