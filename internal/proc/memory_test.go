package proc

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// group makes a directory that looks like a control group.
func group(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		write(t, filepath.Join(dir, name), text)
	}
	return dir
}

func TestMemoryThatIsLeftInAControlGroup(t *testing.T) {
	const stat2 = "anon 4096\nfile 3000\ninactive_anon 7\nactive_file 2000\ninactive_file 1000\nslab_reclaimable 500\n"
	const stat1 = "cache 9\ninactive_file 1\ntotal_cache 3000\ntotal_inactive_file 1000\ntotal_active_file 2000\n"
	for name, test := range map[string]struct {
		files map[string]string
		free  int64
		limit string
	}{
		"version 2": {map[string]string{"memory.current": "7000\n", "memory.max": "10000\n", "memory.high": "max\n", "memory.stat": stat2}, 4000, "memory.max"},
		"version 2, slowed down before it is full": {map[string]string{"memory.current": "7000\n", "memory.max": "10000\n", "memory.high": "8000\n", "memory.stat": stat2},
			2000, "memory.high"},
		"version 2, without a limit":  {map[string]string{"memory.current": "7000\n", "memory.max": "max\n", "memory.high": "max\n", "memory.stat": stat2}, 0, ""},
		"version 2, the root":         {map[string]string{"memory.stat": stat2}, 0, ""},
		"version 2, above its limit":  {map[string]string{"memory.current": "9000\n", "memory.max": "7000\n", "memory.stat": stat2}, -1000, "memory.max"},
		"version 2, nothing of files": {map[string]string{"memory.current": "7000\n", "memory.max": "10000\n"}, 3000, "memory.max"},
		"version 1":                   {map[string]string{"memory.usage_in_bytes": "7000\n", "memory.limit_in_bytes": "10000\n", "memory.stat": stat1}, 4000, "memory.limit_in_bytes"},
		"version 1, without a limit":  {map[string]string{"memory.usage_in_bytes": "7000\n", "memory.limit_in_bytes": "9223372036854771712\n", "memory.stat": stat1}, 0, ""},
		"another controller":          {map[string]string{"pids.max": "10\n"}, 0, ""},
	} {
		free, limit, ok := leftIn(group(t, test.files))
		if ok != (test.limit != "") || limit != test.limit || ok && free != test.free {
			t.Errorf("%s: %d below %q, %v, want %d below %q", name, free, limit, ok, test.free, test.limit)
		}
	}
}

// memoryGroup makes a control group that limits memory, below another, and returns its
// directory and the name of its limit.
func memoryGroup(t *testing.T, parent, name string) (dir, limit string) {
	t.Helper()
	dir = filepath.Join(parent, name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Skipf("needs a memory controller to write to: %v", err)
	}
	t.Cleanup(func() {
		for end := time.Now().Add(deadline); os.Remove(dir) != nil && time.Now().Before(end); {
			time.Sleep(time.Millisecond)
		}
	})
	for _, limit := range []string{"memory.max", "memory.limit_in_bytes"} {
		if _, err := os.Stat(filepath.Join(dir, limit)); err == nil {
			return dir, limit
		}
	}
	t.Skip("needs a memory controller")
	return "", ""
}

// memoryRoot is where control groups that limit memory can be made.
func memoryRoot() string {
	const v1 = "/sys/fs/cgroup/memory"
	if _, err := os.Stat(v1); err == nil {
		return v1
	}
	return "/sys/fs/cgroup"
}

func TestMemoryIsTheLeastOfAllThatLimitIt(t *testing.T) {
	root := memoryRoot()
	above, limit := memoryGroup(t, root, fmt.Sprintf("stablehand-test-%d", os.Getpid()))
	if root == "/sys/fs/cgroup" {
		write(t, above+"/cgroup.subtree_control", "+memory")
	}
	inner, _ := memoryGroup(t, above, "inner")
	pid := script(t, "echo; exec sleep 3600").Process.Pid
	machine, err := Memory(pid) // or what a container has in which this runs
	if err != nil || machine.Limit == "" || machine.Free < 1<<20 {
		t.Fatalf("%+v, %v, want what the machine has", machine, err)
	}
	write(t, inner+"/cgroup.procs", fmt.Sprint(pid))
	const MiB = 1 << 20
	for _, dir := range []string{inner, above} {
		write(t, filepath.Join(dir, limit), fmt.Sprint(64*MiB))
		got, err := Memory(pid)
		if want := limit + " of " + dir; err != nil || got.Limit != want || got.Free > 64*MiB || got.Free < 32*MiB {
			t.Errorf("%+v, %v, want less than 64 MiB of %s", got, err, want)
		}
		write(t, filepath.Join(dir, limit), map[string]string{"memory.max": "max", "memory.limit_in_bytes": "-1"}[limit])
	}
	if got, err := Memory(pid); err != nil || got.Limit != machine.Limit {
		t.Errorf("%+v, %v, without a limit", got, err)
	}
}

// Whom the kernel kills for want of memory is counted by the time that its end is seen.
func TestWhoIsKilledForWantOfMemoryIsCounted(t *testing.T) {
	dir, limit := memoryGroup(t, memoryRoot(), fmt.Sprintf("stablehand-test-%d", os.Getpid()))
	cmd := exec.Command("sh", "-c", "read go; exec python3 -c 'x = bytearray(b\"x\") * (64 << 20)'")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	write(t, dir+"/cgroup.procs", fmt.Sprint(cmd.Process.Pid))
	write(t, filepath.Join(dir, limit), fmt.Sprint(32<<20))
	killings := CountKillings(cmd.Process.Pid)
	if n := killings.More(); n != 0 {
		t.Errorf("%d were killed, and none has begun", n)
	}
	fmt.Fprintln(in, "go")
	if err := cmd.Wait(); cmd.ProcessState.Sys().(syscall.WaitStatus).Signal() != unix.SIGKILL {
		t.Fatalf("it has ended with %v", err)
	}
	if n, m := killings.More(), killings.More(); n != 1 || m != 0 {
		t.Errorf("%d were killed, and then %d, want 1 and 0", n, m)
	}
	if n := CountKillings(1 << 30).More(); n != 0 {
		t.Errorf("%d of a process that is not there", n)
	}
}

// fills takes 64 MiB, and forks another process that shares them.
const fills = `
import os, sys, time
x = bytearray(b"x") * (64 << 20)
os.fork()
sys.stdout.write("x\n")
sys.stdout.flush()
time.sleep(3600)
`

// filled starts that, as a user, and returns both processes.
func filled(t *testing.T, uid uint32) []int {
	t.Helper()
	cmd := exec.Command("python3", "-c", fills)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	out, _ := cmd.StdoutPipe()
	if err := cmd.Start(); err != nil {
		t.Skipf("needs Python, and root to be somebody else: %v", err)
	}
	t.Cleanup(func() {
		tree, _ := Tree(cmd.Process.Pid)
		Kill(tree, unix.SIGKILL)
		cmd.Wait()
	})
	for got := 0; got < 4; {
		n, err := out.Read(make([]byte, 4))
		if err != nil {
			t.Fatal(err)
		}
		got += n
	}
	children, err := Children(cmd.Process.Pid)
	if err != nil || len(children) != 1 {
		t.Fatalf("children %v, %v", children, err)
	}
	return []int{cmd.Process.Pid, children[0]}
}

func TestASharedPageCountsOnce(t *testing.T) {
	const MiB = 1 << 20
	sum := int64(0)
	for _, pid := range filled(t, uint32(os.Getuid())) {
		size, exact, err := Share(pid)
		if err != nil || !exact {
			t.Fatalf("%d, %v, %v", size, exact, err)
		}
		sum += size
	}
	if sum < 64*MiB || sum > 100*MiB {
		t.Errorf("%d MiB in all, want some more than 64", sum/MiB)
	}
}

// envShares has the test's program tell the shares of processes, as another user who may
// not look at them.
const envShares = "PROC_TEST_SHARES"

func tellShares(pids string) (code int) {
	for pid := range strings.FieldsSeq(pids) {
		n, err := strconv.Atoi(pid)
		size, exact, err2 := Share(n)
		if fmt.Println(size, exact); err != nil || err2 != nil {
			return 1
		}
	}
	return 0
}

func TestWhereItIsKeptFromUsASharedPageCountsForEach(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, to be somebody else")
	}
	pids := filled(t, 0)
	program, err := os.Open(os.Args[0]) // where it lies nobody else may look
	if err != nil {
		t.Fatal(err)
	}
	defer program.Close()
	cmd := exec.Command("/proc/self/fd/3")
	cmd.ExtraFiles = []*os.File{program}
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d %d", envShares, pids[0], pids[1]))
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 54321, Gid: 54321}}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		var size int64
		var exact bool
		if _, err := fmt.Sscan(line, &size, &exact); err != nil || exact || size < 64<<20 || size > 100<<20 {
			t.Errorf("%q, want some more than 64 MiB, which is no exact figure", line)
		}
	}
}

func TestWhatHasEndedHasNoMemory(t *testing.T) {
	if size, exact, err := Share(dead(t)); size != 0 || !exact || err != nil {
		t.Errorf("%d, %v, %v", size, exact, err)
	}
	cmd := exec.Command("true")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	for end := time.Now().Add(deadline); Alive(cmd.Process.Pid) && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	if size, exact, err := Share(cmd.Process.Pid); size != 0 || !exact || err != nil {
		t.Errorf("a zombie: %d, %v, %v", size, exact, err)
	}
}
