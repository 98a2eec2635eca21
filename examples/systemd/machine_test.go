package systemd

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stablehand/stablehand/internal/docker"
	"github.com/stablehand/stablehand/internal/load"
)

// loadTime is what the application takes to load, for clients to tell whether
// they have waited for it. A busy machine was seen to stall for half of it.
const loadTime = 4 * time.Second

// machine is a container whose PID 1 is systemd.
type machine struct {
	*docker.Container
	t        *testing.T
	config   string // directory on this machine that is mounted at /etc/app, which is watched
	release  string // the same, at /srv/app/release, which is not
	url      string
	restarts string // how often systemd should have started the service again
}

// boot starts a machine that lasts as long as the test, and returns when it is
// up.
func boot(t *testing.T, e *docker.Engine, image string) *machine {
	t.Helper()
	m := &machine{t: t, config: t.TempDir(), release: t.TempDir()}
	m.Container = e.Create(t, "--network="+e.Network, "--publish=127.0.0.1::8000",
		"--volume="+m.config+":/etc/app", "--volume="+m.release+":/srv/app/release",
		"--cap-add=SYS_ADMIN", "--security-opt=seccomp=unconfined", "--security-opt=apparmor=unconfined",
		"--tmpfs=/run", "--tmpfs=/run/lock", "--tmpfs=/tmp", "--volume=/sys/fs/cgroup:/sys/fs/cgroup", "--cgroupns=host", image)
	m.Start()
	m.url = m.URL("8000/tcp")
	docker.Eventually(t, "systemd running", func() bool {
		state, err := m.try("systemctl", "is-system-running")
		return err == nil && state == "running"
	})
	t.Logf("%s", m.Exec("systemctl", "--version"))
	return m
}

// lend gives the machine to a test as it was after boot. When the test ends the
// units are stopped, which leaves nothing of them.
func (m *machine) lend(t *testing.T, e *docker.Engine) *machine {
	t.Helper()
	m = &machine{Container: e.Container(t, m.ID), t: t, config: m.config, release: m.release, url: m.url, restarts: "0"}
	m.deploy("version 1")
	m.write("open('/srv/app/release/version').read()")
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the journal:\n%s", m.Exec("journalctl", "--unit=app.service", "--lines=100", "--no-pager", "--output=cat"))
		}
		if got := m.show("NRestarts"); got != m.restarts {
			t.Errorf("systemd has started it again %s times, want %s", got, m.restarts)
		}
		m.stops()
		m.Exec("rm", "-rf", "/etc/systemd/system/app.service.d")
		m.systemctl("daemon-reload")
		m.systemctl("reset-failed")
	})
	return m
}

// stops stops the units, and checks how that went.
func (m *machine) stops() {
	m.t.Helper()
	begun := time.Now()
	m.systemctl("stop", "app.socket", "app.service")
	m.t.Logf("stopped in %s", since(begun))
	if got := m.show("Result"); got != "success" {
		m.t.Errorf("it has stopped with the result %s", got)
	}
	if left := m.processes(); len(left) > 0 {
		m.t.Errorf("of the service are left: %s", left)
	}
}

// processes are those in the service's control group.
func (m *machine) processes() []string {
	// grep fails where there are none, and where one has ended meanwhile.
	return strings.Fields(m.Exec("sh", "-c", "grep -ls /app.service /proc/[0-9]*/cgroup; true"))
}

// try runs a command in the machine that may fail.
func (m *machine) try(words ...string) (string, error) {
	return docker.Shared(m.t).Do(append([]string{"exec", m.ID}, words...)...)
}

// systemctl runs a command of systemctl that is to succeed.
func (m *machine) systemctl(words ...string) string {
	m.t.Helper()
	return m.Exec(append([]string{"systemctl"}, words...)...)
}

// show returns a property of the service.
func (m *machine) show(property string) string {
	m.t.Helper()
	return m.systemctl("show", "--value", "--property="+property, "app.service")
}

// status is what an operator reads.
func (m *machine) status() string {
	status, _ := m.try("systemctl", "status", "--no-pager", "--full", "app.service") // whose code tells the state
	return status
}

// says waits until the status has all of these at one time.
func (m *machine) says(parts ...string) {
	m.t.Helper()
	docker.Eventually(m.t, "the status with "+strings.Join(parts, " and "), func() bool {
		status := m.status()
		for _, part := range parts {
			if !strings.Contains(status, part) {
				return false
			}
		}
		return true
	})
}

// journaled waits until all of these are in the service's journal.
func (m *machine) journaled(parts ...string) {
	m.t.Helper()
	docker.Eventually(m.t, "the journal with "+strings.Join(parts, " and "), func() bool {
		journal := m.Exec("journalctl", "--unit=app.service", "--no-pager", "--output=cat")
		return !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(journal, part) })
	})
}

// extend adds to the service as systemctl edit does.
func (m *machine) extend(words ...string) {
	m.t.Helper()
	m.Exec("mkdir", "-p", "/etc/systemd/system/app.service.d")
	m.Exec(words...)
	m.systemctl("daemon-reload")
}

// write writes the configuration in place, with a Python expression for what
// the application answers.
func (m *machine) write(greeting string, more ...string) {
	m.t.Helper()
	text := "raw_env = ['GREETING=' + " + greeting + fmt.Sprintf(", 'LOAD_SECONDS=%v']\n", loadTime.Seconds()) +
		"bind = '0.0.0.0:8000'\nworkers = 2\n" + strings.Join(more, "\n") + "\n"
	m.put(filepath.Join(m.config, "gunicorn.conf.py"), text)
}

// deploy writes what the application answers where nobody watches.
func (m *machine) deploy(version string) {
	m.t.Helper()
	m.put(filepath.Join(m.release, "version"), version)
}

func (m *machine) put(file, text string) {
	m.t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		m.t.Fatal(err)
	}
}

// answers checks that one request is answered now, and returns how long it
// took.
func (m *machine) answers(want string) time.Duration {
	m.t.Helper()
	begun := time.Now()
	got, err := m.Ask(m.url)
	if err != nil || got != want {
		m.t.Fatalf("the answer is %q, %v, want %q", got, err, want)
	}
	return since(begun)
}

// loaded starts clients that ask for as long as the test lasts.
func (m *machine) loaded() *load.Run {
	return m.Load(m.url, 2)
}

// unharmed stops the clients, and checks that each request was answered, and
// none waited for the application to load.
func (m *machine) unharmed(run *load.Run) {
	m.t.Helper()
	docker.Unharmed(m.t, run)
	if silence := run.Stop().Silence; silence >= loadTime {
		m.t.Errorf("nobody was answered for %s", silence)
	}
}

func since(begun time.Time) time.Duration { return time.Since(begun).Round(10 * time.Millisecond) }
