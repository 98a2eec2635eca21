package main_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
)

// mode is how stablehand runs in a script.
type mode string

const (
	asInit    mode = "init"    // PID 1, root in its namespace
	asUser    mode = "user"    // PID 1, without any privilege
	asNobody  mode = "nobody"  // PID 1, as another user; see otherUser
	notAsInit mode = "subreap" // below another PID 1
)

var modes = []mode{asInit, asUser, asNobody, notAsInit}

// unshare is the command line that starts words as PID 1 of a new PID
// namespace with its own /proc. When unshare is killed the namespace ends, and
// the kernel ends every process in it. The network stays ours: scripts listen
// on loopback only.
func unshare(m mode, words ...string) []string {
	line := []string{"unshare", "--pid", "--fork", "--kill-child", "--mount-proc"}
	switch {
	case m == asUser:
		line = append(line, "--user", "--map-user=1000", "--map-group=1000")
	case m == asNobody:
		line = append(line, fmt.Sprintf("--setuid=%d", nobody), fmt.Sprintf("--setgid=%d", nobody))
	case os.Getuid() != 0:
		line = append(line, "--user", "--map-root-user")
	}
	return append(append(line, "--"), words...)
}

// enter is the beginning of a command line that runs inside the namespace of
// pid and in the directory dir, as docker exec does.
func enter(m mode, pid int, dir string) []string {
	line := []string{"nsenter", fmt.Sprintf("--target=%d", pid), "--pid", "--mount", "--wd=" + dir}
	if m == asUser || os.Getuid() != 0 {
		line = append(line, "--user", "--preserve-credentials")
	}
	return append(line, "--")
}

var namespaces sync.Map // of mode to func() error

// needNamespace skips the test where this machine or this user may not have
// the namespaces that the mode needs.
func needNamespace(t testing.TB, m mode) {
	t.Helper()
	try, _ := namespaces.LoadOrStore(m, sync.OnceValue(func() error {
		line := unshare(m, "true")
		out, err := exec.Command(line[0], line[1:]...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, bytes.TrimSpace(out))
		}
		return nil
	}))
	if err := try.(func() error)(); err != nil {
		t.Skipf("PID namespaces are not to be had here (%s): %v", strings.Join(unshare(m), " "), err)
	}
}
