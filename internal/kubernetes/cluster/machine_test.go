package cluster

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// inside is in the environment of the process that has the cluster's namespaces.
const inside = "STABLEHAND_CLUSTER_INSIDE"

// settings are the sysctls that a kubelet sets for the whole machine.
var settings = []string{
	"vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops",
	"kernel/keys/root_maxkeys", "kernel/keys/root_maxbytes",
}

// groups is where a kubelet has the control groups of its pods, below each controller.
const groups = "/sys/fs/cgroup/*/kubepods"

// errMissing is why the tests are skipped.
var errMissing = errors.New("no cluster")

// unfit is why this machine is not one for a cluster, whatever is installed.
var unfit error

func TestMain(m *testing.M) {
	flag.Parse()
	if os.Getenv(inside) != "" {
		os.Exit(m.Run())
	}
	if unfit = looksFit(); unfit != nil {
		os.Exit(m.Run())
	}
	code, err := outside()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = max(code, 1)
	}
	os.Exit(code)
}

func looksFit() error {
	if os.Getuid() != 0 {
		return fmt.Errorf("%w: it takes root", errMissing)
	}
	if others, _ := filepath.Glob(groups); others != nil {
		return fmt.Errorf("%w: a kubelet has made %s, and this is no machine for a second one", errMissing, others[0])
	}
	return nil
}

// outside runs the tests in namespaces of their own, and puts back what is the whole
// machine's.
func outside() (code int, err error) {
	put, err := keep(settings)
	if err != nil {
		return 1, err
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), inside+"=yes")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWPID, Pdeathsig: unix.SIGKILL}
	runtime.LockOSThread() // the signal comes when the thread ends that started the process
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM, unix.SIGQUIT)
	if err := cmd.Start(); err != nil {
		return 1, err
	}
	go func() {
		<-signals
		cmd.Process.Kill() // it is PID 1 there, and all end with it
	}()
	err = cmd.Wait()
	if failed := new(exec.ExitError); errors.As(err, &failed) {
		err, code = nil, max(1, failed.ExitCode())
	}
	return code, errors.Join(err, put(), removeGroups())
}

// keep reads sysctls, and returns what writes them again.
func keep(names []string) (put func() error, err error) {
	before := map[string][]byte{}
	for _, name := range names {
		if before[name], err = os.ReadFile("/proc/sys/" + name); err != nil {
			return nil, err
		}
	}
	return func() (err error) {
		for name, value := range before {
			err = errors.Join(err, os.WriteFile("/proc/sys/"+name, value, 0o644))
		}
		return err
	}, nil
}

// removeGroups removes the pods' control groups, as soon as the last process has left
// them.
func removeGroups() error {
	var err error
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if err = removeGroupsOnce(); err == nil {
			return nil
		}
	}
	return err
}

func removeGroupsOnce() (err error) {
	tops, _ := filepath.Glob(groups)
	for _, top := range tops {
		var dirs []string
		_ = filepath.WalkDir(top, func(path string, entry fs.DirEntry, err error) error {
			if err == nil && entry.IsDir() {
				dirs = append(dirs, path)
			}
			return nil
		})
		slices.Reverse(dirs)
		for _, dir := range dirs {
			err = errors.Join(err, unix.Rmdir(dir))
		}
	}
	return err
}

const (
	node       = "node"
	address    = "10.88.0.1" // of the node
	podNetwork = "10.88.0.0/16"
	services   = "10.96.0.0/16"
)

// furnish gives the namespaces what a node has: a /proc, places for what is written where
// it always is, and a bridge that pods are put to. No other address leads anywhere.
func furnish() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return err
	}
	for _, dir := range []string{"/run", "/var/log", "/var/lib/kubelet", "/var/lib/cni"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=755"); err != nil {
			return fmt.Errorf("mounting %s: %w", dir, err)
		}
	}
	for _, words := range []string{
		"link set lo up",
		// Without an address of its own a bridge takes another one when a pod comes, and
		// the pods would answer to the old one for some seconds.
		"link add pods address 02:00:0a:58:00:01 type bridge",
		"address add " + address + "/16 dev pods",
		"link set pods up",
		"route add " + services + " dev pods", // kube-proxy leads them to pods
	} {
		if out, err := exec.Command("ip", strings.Fields(words)...).CombinedOutput(); err != nil {
			return fmt.Errorf("ip %s: %w: %s", words, err, out)
		}
	}
	return nil
}
