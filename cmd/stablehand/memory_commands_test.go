package main_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// memoryCommands are the words for a container's memory.
//
//	memory max      have what is started from now on run in a cgroup of its own
//	memory +N       let that have N MiB more than it takes now. Where the kernel has
//	                version 2 it kills all of the cgroup when there is no more, as
//	                containers of Kubernetes are
//	memory max      let it have as much as there is
//	memory one      let the kernel kill one process when there is no more, with version 2,
//	                too, as for a kubelet with singleProcessOOMKill
//	killed N        check how many processes the kernel has killed there for want of
//	                memory: 0, or 1 for any number
var memoryCommands = map[string]func(*testscript.TestScript, bool, []string){
	"memory": cmdMemory,
	"killed": cmdKilled,
}

func init() {
	for word, do := range memoryCommands {
		commands[word] = do
	}
}

// keyMemory is where a script's cgroup for memory is kept.
type keyMemory struct{} // *memoryCgroup

// memoryCgroup is one, by the names of its version.
type memoryCgroup struct {
	dir                       string
	v2                        bool
	limit, unlimited          string
	usage, inactive, killings string
}

// memoryParent is where cgroups for memory can be made.
func memoryParent() (dir string, v2 bool, err error) {
	const v1, unified = "/sys/fs/cgroup/memory", "/sys/fs/cgroup"
	if _, err := os.Stat(v1 + "/cgroup.procs"); err == nil {
		return v1, false, nil
	}
	controllers, err := os.ReadFile(unified + "/cgroup.subtree_control")
	if err == nil && !bytes.Contains(controllers, []byte("memory")) {
		err = errors.New("the cgroups here have no memory controller")
	}
	return unified, true, err
}

func newMemoryCgroup(ts *testscript.TestScript) *memoryCgroup {
	parent, v2, err := memoryParent()
	ts.Check(err)
	dir, err := os.MkdirTemp(parent, "stablehand-e2e-")
	ts.Check(err)
	ts.Check(os.Chmod(dir, 0o755))
	g := &memoryCgroup{dir: dir, v2: v2, limit: "memory.limit_in_bytes", unlimited: "-1",
		usage: "memory.usage_in_bytes", inactive: "total_inactive_file", killings: "memory.oom_control"}
	if v2 {
		g.limit, g.unlimited, g.usage, g.inactive, g.killings = "memory.max", "max", "memory.current", "inactive_file", "memory.events"
		ts.Check(os.WriteFile(dir+"/memory.oom.group", []byte("1"), 0))
	}
	return g
}

// remove removes it, when its programs have ended.
func (g *memoryCgroup) remove() error {
	if g == nil {
		return nil
	}
	err := unix.Rmdir(g.dir)
	for end := time.Now().Add(patience); err != nil && time.Now().Before(end); time.Sleep(look) {
		err = unix.Rmdir(g.dir)
	}
	return err
}

// has runs a command line in the cgroup.
func (g *memoryCgroup) has(line []string) []string {
	return append([]string{"sh", "-c", `echo 0 >"$0"/cgroup.procs && exec "$@"`, g.dir}, line...)
}

// read is a number in one of the cgroup's files, that of a field where it has some.
func (g *memoryCgroup) read(file, field string) (int, error) {
	text, err := os.ReadFile(filepath.Join(g.dir, file))
	for line := range strings.Lines(string(text)) {
		if value, is := strings.CutPrefix(line, field); is {
			return strconv.Atoi(strings.TrimSpace(value))
		}
	}
	return 0, errors.Join(err, fmt.Errorf("%s has no %q", file, field))
}

func cmdMemory(ts *testscript.TestScript, neg bool, args []string) {
	refuse(ts, neg)
	if len(args) != 1 {
		ts.Fatalf("usage: memory max, memory one, memory +N")
	}
	kept := ts.Value(keyMemory{}).(**memoryCgroup)
	if *kept == nil {
		*kept = newMemoryCgroup(ts)
	}
	g, text := *kept, (*kept).unlimited
	if args[0] == "one" {
		if g.v2 {
			ts.Check(os.WriteFile(g.dir+"/memory.oom.group", []byte("0"), 0))
		}
		return
	}
	if more, is := strings.CutPrefix(args[0], "+"); is {
		n, err := strconv.Atoi(more)
		ts.Check(err)
		used, err := g.read(g.usage, "")
		ts.Check(err)
		inactive, err := g.read("memory.stat", g.inactive+" ")
		ts.Check(err)
		text = strconv.Itoa(used - inactive + n<<20)
	}
	ts.Check(os.WriteFile(filepath.Join(g.dir, g.limit), []byte(text), 0))
}

func cmdKilled(ts *testscript.TestScript, neg bool, args []string) {
	refuse(ts, neg)
	g := *ts.Value(keyMemory{}).(**memoryCgroup)
	if g == nil || len(args) != 1 {
		ts.Fatalf("usage: killed N, after memory")
	}
	n, err := g.read(g.killings, "oom_kill ")
	ts.Check(err)
	ts.Logf("the kernel has killed %d processes", n)
	if got := strconv.Itoa(min(n, 1)); got != args[0] {
		for _, p := range ts.Value(keyPrograms{}).(map[string]*program) {
			ts.Logf("[%s]\n%s", p.log, p.logged())
		}
		ts.Fatalf("the kernel has killed %d processes", n)
	}
}
