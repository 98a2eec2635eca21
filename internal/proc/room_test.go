package proc

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func TestGroupsAreFoundWhereTheyAreMounted(t *testing.T) {
	const (
		v1     = "39 31 0:37 / /sys/fs/cgroup/pids rw,relatime shared:9 - cgroup cgroup rw,pids\n"
		docker = "39 31 0:37 /docker/a /sys/fs/cgroup/pids ro - cgroup cgroup rw,pids\n"
		other  = "38 31 0:36 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"
		v2     = "41 31 0:38 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
		above  = "41 31 0:38 /../.. /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
		blank  = `41 31 0:38 / /mnt/my\040groups rw - cgroup2 cgroup2 rw` + "\n"
	)
	for name, test := range map[string]struct {
		mounts     string
		controller string
		group      string
		want       []string
	}{
		"version 1":                         {other + v1 + v2, "pids", "/a/b", []string{"/sys/fs/cgroup/pids/a/b", "/sys/fs/cgroup/pids/a", "/sys/fs/cgroup/pids"}},
		"version 1, in Docker":              {other + docker, "pids", "/docker/a", []string{"/sys/fs/cgroup/pids"}},
		"version 1, below Docker's":         {docker, "pids", "/docker/a/b", []string{"/sys/fs/cgroup/pids/b", "/sys/fs/cgroup/pids"}},
		"version 1, beside Docker's":        {docker, "pids", "/docker/ab", nil},
		"version 1, not mounted":            {other + v2, "pids", "/a", nil},
		"version 2":                         {v1 + v2, "", "/a", []string{"/sys/fs/cgroup/a", "/sys/fs/cgroup"}},
		"version 2, in a namespace":         {v2, "", "/", []string{"/sys/fs/cgroup"}},
		"version 2, outside the namespace":  {v2, "", "/../other", nil},
		"version 2, mounted above":          {above, "", "/", []string{"/sys/fs/cgroup"}},
		"version 2, mounted above, outside": {above, "", "/../../x", []string{"/sys/fs/cgroup/x", "/sys/fs/cgroup"}},
		"version 2, by a name with a blank": {blank, "", "/", []string{"/mnt/my groups"}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, groupDirs(test.mounts, test.controller, test.group)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// pidsGroup makes a control group below another that limits processes, and
// returns its directory.
func pidsGroup(t *testing.T, parent, name string) string {
	t.Helper()
	dir := filepath.Join(parent, name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Skipf("needs a pids controller to write to: %v", err)
	}
	t.Cleanup(func() {
		for end := time.Now().Add(deadline); os.Remove(dir) != nil && time.Now().Before(end); {
			time.Sleep(time.Millisecond)
		}
	})
	if _, err := os.Stat(dir + "/pids.max"); err != nil {
		t.Skipf("needs a pids controller: %v", err)
	}
	return dir
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestRoomInAGroupAndInThoseAboveIt(t *testing.T) {
	above := pidsGroup(t, "/sys/fs/cgroup/pids", fmt.Sprintf("stablehand-test-%d", os.Getpid()))
	group := pidsGroup(t, above, "inner")
	pid := script(t, "sleep 3600 & echo; wait").Process.Pid
	t.Cleanup(func() {
		tree, _ := Tree(pid)
		Kill(tree, unix.SIGKILL)
	})
	children, err := Children(pid)
	if err != nil || len(children) != 1 {
		t.Fatalf("children %v, %v", children, err)
	}
	write(t, group+"/cgroup.procs", fmt.Sprint(pid))
	write(t, group+"/cgroup.procs", fmt.Sprint(children[0]))
	for _, dir := range []string{group, above} {
		write(t, dir+"/pids.max", "5")
		if err := Room(pid, 3); err != nil {
			t.Errorf("%v, want room for 3", err)
		}
		want := fmt.Sprintf("no room for 4 more processes: pids.max of %s is 5, and 2 are there", dir)
		if err := Room(pid, 4); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
		write(t, dir+"/pids.max", "max")
	}
	if err := Room(pid, 1000); err != nil {
		t.Errorf("%v without a limit", err)
	}
}

func TestRoomOfAUser(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, to be somebody else")
	}
	const uid = 54321
	start := func(uid uint32, most int) int {
		cmd := exec.Command("prlimit", fmt.Sprintf("--nproc=%d", most), "sh", "-c", "echo; exec sleep 3600")
		out, _ := cmd.StdoutPipe()
		cmd.Dir = "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			cmd.Process.Kill()
			cmd.Wait()
		})
		if n, _ := out.Read(make([]byte, 1)); n == 0 {
			t.Fatal("prlimit of util-linux does not run")
		}
		return cmd.Process.Pid
	}
	one, _ := start(uid, 5), start(uid, 5)
	if err := Room(one, 3); err != nil {
		t.Errorf("%v, want room for 3", err)
	}
	var crowded *Crowded
	if err := Room(one, 4); !errors.As(err, &crowded) || crowded.Max != 5 || crowded.There != 2 || !strings.Contains(crowded.Limit, "RLIMIT_NPROC") {
		t.Errorf("%v, want no room for 4 beside 2 of 5", err)
	}
	root := start(0, 1)
	if err := Room(root, 100); err != nil {
		t.Errorf("root: %v, whom the kernel does not limit", err)
	}
}

func TestNoRoomIsClaimedOfWhoIsGone(t *testing.T) {
	if err := Room(dead(t), 1); err != nil {
		t.Error(err)
	}
}
