package watch

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"
)

// Each script in testdata is one writer: it does what some tool really does,
// where possible by running that tool, and says what is to be reported.
// Besides testscript's own commands it has
//
//	watch [-debounce D] [-poll D] PATH...  begin to watch
//	reported [-wait] PATH...  since then, or the last such line, these were reported, once and together;
//	                     -wait: they will be, without an event
//	unreported           ... nothing was reported
//	[!] logged TEXT      the log says this (call it after one of the two above)
//	kubelet [-resync] VOLUME SOURCE  write a volume as the kubelet does
func TestWriters(t *testing.T) { runScripts(t, "testdata/writers") }

// TestMounts needs a mount namespace, and limits that are its own.
func TestMounts(t *testing.T) { inNamespace(t, "testdata/mounts", 0) }

// TestUnprivileged needs not to be root, who can read everything.
func TestUnprivileged(t *testing.T) { inNamespace(t, "testdata/unprivileged", 1000) }

func runScripts(t *testing.T, dir string, files ...string) {
	if files != nil {
		dir = ""
	}
	testscript.Run(t, testscript.Params{
		Dir:   dir,
		Files: files,
		Setup: func(env *testscript.Env) error {
			dir, err := os.MkdirTemp("", "watch-marker")
			env.Defer(func() { os.RemoveAll(dir) })
			env.Values[audienceKey] = new(*audience)
			env.Values[markerKey] = filepath.Join(dir, "marker")
			return err
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"watch":      scriptWatch,
			"reported":   scriptReported,
			"unreported": scriptReported,
			"logged":     scriptLogged,
			"kubelet":    scriptKubelet,
		},
		Condition: func(cond string) (bool, error) {
			switch cond {
			case "root":
				return os.Getuid() == 0, nil
			case "overlay":
				b, err := os.ReadFile("/proc/filesystems")
				return strings.Contains(string(b), "overlay"), err
			case "fuse":
				f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
				f.Close()
				return err == nil, nil
			}
			return false, fmt.Errorf("unknown condition %q", cond)
		},
	})
}

// scriptEnv names the script that a process in a namespace is to run.
const scriptEnv = "WATCH_TEST_SCRIPT"

// inNamespace runs each script in a process of its own, as a user of its own
// user namespace: 0 may mount there and set limits.
func inNamespace(t *testing.T, dir string, uid int) {
	if script := os.Getenv(scriptEnv); script != "" {
		runScripts(t, "", script)
		return
	}
	scripts, err := filepath.Glob(filepath.Join(dir, "*.txt"))
	if err != nil || len(scripts) == 0 {
		t.Fatal("no scripts in", dir, err)
	}
	again := "-test.run=^" + t.Name() + "$"
	for _, script := range scripts {
		t.Run(strings.TrimSuffix(filepath.Base(script), ".txt"), func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command("/proc/self/exe", "-test.v", "-test.timeout=2m", fmt.Sprintf("-test.short=%t", testing.Short()), again)
			// What is mounted can't be removed in there: it is, here, when the namespace has gone.
			cmd.Env = append(os.Environ(), scriptEnv+"="+script, "TMPDIR="+t.TempDir())
			cmd.SysProcAttr = &syscall.SysProcAttr{
				Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
				UidMappings: []syscall.SysProcIDMap{{ContainerID: uid, HostID: os.Getuid(), Size: 1}},
				GidMappings: []syscall.SysProcIDMap{{ContainerID: uid, HostID: os.Getgid(), Size: 1}},
				Pdeathsig:   syscall.SIGKILL,
			}
			var out bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &out
			if err := cmd.Start(); err != nil {
				t.Skip("no user namespace to be had:", err)
			}
			if err := cmd.Wait(); err != nil {
				t.Fatalf("%v\n%s", err, out.String())
			}
			if strings.Contains(out.String(), "--- SKIP: ") {
				t.Skip(whySkipped(out.String()))
			}
		})
	}
}

// skipReason is the line in which a test, or testscript for a script's skip, says
// why it was skipped. It comes before the script's own log.
var skipReason = regexp.MustCompile(`(?m)^ +(?:cmd|\w+_test)\.go:\d+: (.+)$`)

// whySkipped is the reason in the output of a test that was skipped.
func whySkipped(out string) string {
	if found := skipReason.FindStringSubmatch(out); found != nil {
		return found[1]
	}
	return "it says no reason"
}

type key int

const (
	markerKey key = iota
	audienceKey
)

func scriptWatch(ts *testscript.TestScript, neg bool, args []string) {
	var o Options
	flags := flag.NewFlagSet("watch", flag.ContinueOnError)
	flags.DurationVar(&o.Debounce, "debounce", 250*time.Millisecond, "")
	flags.DurationVar(&o.Poll, "poll", 0, "")
	ts.Check(flags.Parse(args))
	for _, p := range flags.Args() {
		o.Paths = append(o.Paths, ts.MkAbs(p))
	}
	o.Ignore = DefaultIgnore
	a, err := listen(o, ts.Value(markerKey).(string), io.Discard)
	ts.Check(err)
	ts.Defer(func() { a.Close() })
	*ts.Value(audienceKey).(**audience) = a
}

func scriptReported(ts *testscript.TestScript, neg bool, args []string) {
	a := *ts.Value(audienceKey).(**audience)
	wait := len(args) > 0 && args[0] == "-wait"
	if wait {
		args = args[1:]
	}
	var want [][]string
	if len(args) > 0 {
		paths := make([]string, len(args))
		for i, p := range args {
			paths[i] = ts.MkAbs(p)
		}
		want = [][]string{paths}
	}
	var got [][]string
	if wait {
		paths, err := a.next()
		ts.Check(err)
		got = append(got, paths)
	}
	more, err := a.reports()
	ts.Check(err)
	got = append(got, more...)
	if diff := cmp.Diff(want, got); diff != "" {
		ts.Fatalf("reports (-want +got):\n%s\nlog:\n%s", diff, a.log.String())
	}
}

func scriptLogged(ts *testscript.TestScript, neg bool, args []string) {
	a := *ts.Value(audienceKey).(**audience)
	switch n := strings.Count(a.log.String(), args[0]); {
	case neg && n > 0:
		ts.Fatalf("the log says so:\n%s", a.log.String())
	case !neg && n != 1:
		ts.Fatalf("the log says so %d times, not once:\n%s", n, a.log.String())
	}
}

// scriptKubelet does in the same order what the kubelet does to a ConfigMap,
// Secret or projected volume (AtomicWriter in k8s.io/kubernetes/pkg/volume/util,
// v1.37.2: the system calls are the same). The kubelet itself writes nothing
// where the content is the same; -resync does.
func scriptKubelet(ts *testscript.TestScript, neg bool, args []string) {
	resync := args[0] == "-resync"
	if resync {
		args = args[1:]
	}
	volume, source := ts.MkAbs(args[0]), ts.MkAbs(args[1])
	data := filepath.Join(volume, "..data")
	old, _ := os.Readlink(data)
	if old != "" && !resync && exec.Command("diff", "-r", source, data).Run() == nil {
		return
	}
	ts.Check(os.MkdirAll(volume, 0o755))
	stamped, err := os.MkdirTemp(volume, time.Now().UTC().Format("..2006_01_02_15_04_05."))
	ts.Check(err)
	ts.Check(os.Chmod(stamped, 0o755))
	ts.Check(os.CopyFS(stamped, os.DirFS(source)))
	ts.Check(os.Symlink(filepath.Base(stamped), data+"_tmp"))
	ts.Check(os.Rename(data+"_tmp", data))
	for _, name := range namesIn(ts, stamped) {
		if err := os.Symlink(filepath.Join("..data", name), filepath.Join(volume, name)); !os.IsExist(err) {
			ts.Check(err)
		}
	}
	if old == "" {
		return
	}
	for _, name := range namesIn(ts, filepath.Join(volume, old)) {
		if _, err := os.Lstat(filepath.Join(stamped, name)); os.IsNotExist(err) {
			ts.Check(os.Remove(filepath.Join(volume, name)))
		}
	}
	ts.Check(os.RemoveAll(filepath.Join(volume, old)))
}

func namesIn(ts *testscript.TestScript, dir string) []string {
	all, err := new(look).readNames(dir)
	ts.Check(err)
	return all
}
