package docker

import (
	"net"
	"os"
	"os/exec"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// elsewhere is set where a test runs in a network namespace that stands for a machine's.
const elsewhere = "STABLEHAND_TEST_ELSEWHERE"

// Another engine's bridge has the name that a dockerd would remove, or take, on its own
// machine.
func TestTheMachinesNetworkIsLeftAlone(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can start an engine")
	}
	for _, tool := range []string{"ip", "docker", "dockerd", "slirp4netns"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip(tool, " is not installed")
		}
	}
	if os.Getenv(elsewhere) == "" {
		self := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
		self.Env = append(os.Environ(), elsewhere+"=yes")
		self.SysProcAttr = &unix.SysProcAttr{Cloneflags: unix.CLONE_NEWNET}
		out, err := self.CombinedOutput()
		if err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	if out, err := exec.Command("ip", "link", "add", "docker0", "type", "bridge").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	before := interfaces(t)
	d, err := startDaemon(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	e := &Engine{own: d, host: "unix://" + d.socket()}
	_, err = e.Do("network", "create", "a-bridge")
	during := interfaces(t)
	if stopped := d.stop(); err != nil || stopped != nil {
		t.Fatal(err, stopped)
	}
	after := interfaces(t)
	if !slices.Equal(during, before) || !slices.Equal(after, before) {
		t.Errorf("interfaces %v, with an engine %v, after it %v", before, during, after)
	}
}

func interfaces(t *testing.T) (names []string) {
	t.Helper()
	list, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range list {
		names = append(names, i.Name)
	}
	return names
}
