package systemd

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stablehand/stablehand/internal/docker"
)

// promises are what holds with every systemd.
var promises = []struct {
	name  string
	holds func(*testing.T, *machine)
}{
	{"start returns when requests are answered", startReturnsWhenRequestsAreAnswered},
	{"by itself gunicorn says so before it has loaded", gunicornSaysSoTooEarly},
	{"a start that fails says so and is tried until it succeeds", aStartThatFails},
	{"reload loses no request and returns when the new version answers", reloadLosesNoRequest},
	{"a change of the file alone is a reload", aChangeIsAReload},
	{"a reload during a handoff waits for the next one", aReloadWaits},
	{"a reload that outlasts TimeoutStartSec fails and the handoff goes on", aReloadTooLong},
	{"a broken change fails the reload and leaves the unit active", aBrokenChange},
	{"a stop during a handoff leaves nothing", aStopDuringAHandoff},
	{"killed it is adopted by the next", killedItIsAdopted},
	{"hanging it is ended by the watchdog and adopted by the next", hangingItIsAdopted},
	{"killed, and stopped before the next has started, it leaves gunicorn until that is killed", killedAndStopped},
	{"with BIND: reload loses no request and returns when the new version answers", withBind(reloadLosesNoRequest)},
	{"with BIND: killed it is handed over from by the next", withBind(killedItIsReplaced)},
	{"with BIND: hanging it is ended by the watchdog and handed over from by the next", withBind(hangingItIsReplaced)},
	{"with BIND: what a stop leaves is handed over from by the next start", withBind(leftIsReplaced)},
	{"the port queues requests over a full restart", thePortQueuesRequests},
}

func TestSystemd252(t *testing.T) {
	e, image := built(t, "systemd-252", docker.BookwormImage)
	m := boot(t, e, image)
	holdAll(t, e, m)
	t.Run("what a stop leaves is adopted by the next start", func(t *testing.T) { leftIsAdopted(t, m.lend(t, e)) })
}

func TestSystemd257(t *testing.T) {
	e, image := built(t, "systemd-257", docker.TrixieImage)
	m := boot(t, e, image)
	holdAll(t, e, m)
	t.Run("what a stop leaves is in the way of the next start", func(t *testing.T) { leftIsInTheWay(t, m.lend(t, e)) })
	t.Run("Type=notify-reload needs no ExecReload", func(t *testing.T) { notifyReload(t, m.lend(t, e)) })
}

func holdAll(t *testing.T, e *docker.Engine, m *machine) {
	for _, p := range promises {
		t.Run(p.name, func(t *testing.T) { p.holds(t, m.lend(t, e)) })
	}
}

// starts starts the service, and returns how long that took.
func (m *machine) starts() time.Duration {
	m.t.Helper()
	begun := time.Now()
	m.systemctl("start", "app.service")
	return since(begun)
}

func startReturnsWhenRequestsAreAnswered(t *testing.T, m *machine) {
	start := m.starts()
	request := m.answers("version 1")
	t.Logf("start took %s, the first request after it %s", start, request)
	if start < loadTime || request > loadTime/2 {
		t.Error("the request had to wait for the application to load")
	}
	m.says("active (running)", `Status: "Serving generation 1 with 2 workers"`)
	if all := m.processes(); len(all) != 4 {
		t.Errorf("of the service are %s, want stablehand, a master and two workers", all)
	}
	m.gunicornKnowsNothingOfSystemd()
}

func gunicornSaysSoTooEarly(t *testing.T, m *machine) {
	m.extend("sh", "-c", "grep ^ExecStart= /etc/systemd/system/app.service | "+
		"sed 's/=.*stablehand /=/; i [Service]\\nWatchdogSec=0\\nExecStart=' >/etc/systemd/system/app.service.d/alone.conf")
	start := m.starts()
	request := m.answers("version 1")
	t.Logf("start took %s, the first request after it %s", start, request)
	if request < loadTime/2 {
		t.Error("it waits for the application, too: then the test of start shows nothing")
	}
}

func aStartThatFails(t *testing.T, m *machine) {
	m.write("'version 1'", "workers = = 3")
	if out, err := m.try("systemctl", "start", "app.service"); err == nil {
		t.Errorf("the start succeeded: %s", out)
	}
	const limit = 5 // systemd's own, in 10 s
	docker.Eventually(t, "more tries than systemd's limit", func() bool {
		n, err := strconv.Atoi(m.show("NRestarts"))
		return err == nil && n > limit
	})
	m.write("'version 2'")
	m.says("active (running)", "Serving generation") // 2, where the write was seen while 1 came up
	m.answers("version 2")
	m.restarts = m.show("NRestarts")
}

// gunicornKnowsNothingOfSystemd checks what gunicorn was started with. With BIND
// stablehand has two masters until the old generation has retired.
func (m *machine) gunicornKnowsNothingOfSystemd() {
	m.t.Helper()
	own := m.show("MainPID")
	var children []string
	docker.Eventually(m.t, "gunicorn's master as stablehand's one child", func() bool {
		children = strings.Fields(m.Exec("sh", "-c", "cat /proc/"+own+"/task/*/children")) // of each of its threads
		return len(children) == 1
	})
	environ := m.Exec("sh", "-c", "tr '\\0' '\\n' </proc/"+children[0]+"/environ")
	if !strings.Contains(environ, "RUNTIME_DIRECTORY=/run/app") {
		m.t.Errorf("this is not the service's environment: %s", environ)
	}
	for _, name := range []string{"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"} {
		if strings.Contains(environ, name+"=") {
			m.t.Errorf("gunicorn has %s", name)
		}
	}
}

// reloads deploys some versions under load, with a reload after each.
func (m *machine) reloads(versions ...string) {
	m.t.Helper()
	pid := m.show("MainPID")
	run := m.loaded()
	for _, version := range versions {
		m.deploy(version)
		begun := time.Now()
		m.systemctl("reload", "app.service")
		took := since(begun)
		m.answers(version)
		m.t.Logf("reload took %s", took)
	}
	m.unharmed(run)
	if state := m.show("ActiveState"); state != "active" {
		m.t.Errorf("after the last reload it is %s", state)
	}
	if now := m.show("MainPID"); now != pid {
		m.t.Errorf("the main process was %s and is %s", pid, now)
	}
}

func reloadLosesNoRequest(t *testing.T, m *machine) {
	m.starts()
	m.reloads("version 2", "version 3")
	m.says("active (running)", "Serving generation 3 with 2 workers")
	m.gunicornKnowsNothingOfSystemd()
}

// changes writes another version where it is watched, and returns when the
// handoff is under way.
func (m *machine) changes() {
	m.t.Helper()
	m.write("'version 2'")
	m.says("Active: reloading", "Handing off to generation 2 (content changed)")
}

func aChangeIsAReload(t *testing.T, m *machine) {
	m.starts()
	run := m.loaded()
	m.changes()
	m.says("active (running)", "Serving generation 2 with 2 workers")
	m.answers("version 2")
	m.unharmed(run)
}

func aReloadWaits(t *testing.T, m *machine) {
	m.starts()
	run := m.loaded()
	m.changes()
	m.systemctl("reload", "app.service")
	m.answers("version 2")
	m.says("active (running)", "Serving generation 3 with 2 workers")
	m.unharmed(run)
}

func aReloadTooLong(t *testing.T, m *machine) {
	m.write("open('/srv/app/release/version').read()", "raw_env[1] = 'LOAD_SECONDS=5'")
	m.starts()
	m.extend("sh", "-c", "printf '[Service]\nTimeoutStartSec=3s\n' >/etc/systemd/system/app.service.d/impatient.conf")
	m.deploy("version 2")
	if out, err := m.try("systemctl", "reload", "app.service"); err == nil {
		t.Errorf("the reload succeeded: %s", out)
	}
	m.Answers(m.url, "version 2")
	m.says("active (running)", "Serving generation 2 with 2 workers")
}

func aBrokenChange(t *testing.T, m *machine) {
	m.starts()
	run := m.loaded()
	m.write("'version 2'", "workers = = 3")
	out, err := m.try("systemctl", "reload", "app.service")
	if err == nil {
		t.Errorf("the reload succeeded: %s", out)
	}
	m.says("active (running)", "Serving generation 1 with 2 workers; generation", "was rolled back in step warm: exit code 1")
	m.answers("version 1")
	m.unharmed(run)
	m.write("'version 3'")
	m.Answers(m.url, "version 3")
	m.says("active (running)", "Serving generation", "with 2 workers\"\n")
}

func aStopDuringAHandoff(t *testing.T, m *machine) {
	m.starts()
	m.changes()
	m.stops()
}

func killedItIsAdopted(t *testing.T, m *machine) {
	m.isAdopted(func() { m.systemctl("kill", "--signal=KILL", "--kill-whom=main", "app.service") })
}

func hangingItIsAdopted(t *testing.T, m *machine) {
	m.isAdopted(func() { m.systemctl("kill", "--signal=STOP", "--kill-whom=main", "app.service") })
	m.journaled("SIGABRT: abort", "goroutine 1 ")
}

// withBind has stablehand open the port.
func withBind(holds func(*testing.T, *machine)) func(*testing.T, *machine) {
	return func(t *testing.T, m *machine) {
		m.extend("cp", "/usr/share/doc/app/bind.conf", "/etc/systemd/system/app.service.d/")
		holds(t, m)
	}
}

func killedItIsReplaced(t *testing.T, m *machine) {
	m.isReplaced(func() { m.systemctl("kill", "--signal=KILL", "--kill-whom=main", "app.service") })
}

func hangingItIsReplaced(t *testing.T, m *machine) {
	m.isReplaced(func() { m.systemctl("kill", "--signal=STOP", "--kill-whom=main", "app.service") })
	m.journaled("SIGABRT: abort", "goroutine 1 ")
}

// isReplaced does something to stablehand under load after which systemd starts
// another, which hands over from the gunicorn that was left.
func (m *machine) isReplaced(after func()) {
	m.t.Helper()
	m.starts()
	run := m.loaded()
	begun := time.Now()
	after()
	m.restarts = "1"
	docker.Eventually(m.t, "a restart", func() bool { return m.show("NRestarts") == "1" && m.show("SubState") == "running" })
	m.t.Logf("another stablehand serves after %s", since(begun))
	m.says("active (running)", "Serving generation 2 with 2 workers\"\n") // 1 is what was left
	m.unharmed(run)
	m.reloads("version 2")
}

func leftIsReplaced(t *testing.T, m *machine) {
	m.leave()
	run := m.loaded()
	m.starts()
	m.says("active (running)", "Serving generation 2 with 2 workers\"\n") // 1 is what was left
	m.unharmed(run)
	m.reloads("version 2")
}

// isAdopted does something to stablehand under load after which systemd starts
// another, which adopts gunicorn and hands it over.
func (m *machine) isAdopted(after func()) {
	m.t.Helper()
	m.starts()
	master := m.Exec("cat", "/run/app/gunicorn.pid")
	run := m.loaded()
	begun := time.Now()
	after()
	m.restarts = "1"
	docker.Eventually(m.t, "a restart", func() bool { return m.show("NRestarts") == "1" && m.show("SubState") == "running" })
	m.t.Logf("another stablehand serves after %s", since(begun))
	if now := m.Exec("cat", "/run/app/gunicorn.pid"); now != master {
		m.t.Errorf("gunicorn's master was %s and is %s", master, now)
	}
	m.unharmed(run)
	m.reloads("version 2")
}

// leave kills stablehand and stops the service before systemd has started
// another. gunicorn is left.
func (m *machine) leave() {
	m.t.Helper()
	m.extend("sh", "-c", "printf '[Service]\nRestartSec=1h\n' >/etc/systemd/system/app.service.d/later.conf")
	m.starts()
	m.systemctl("kill", "--signal=KILL", "--kill-whom=main", "app.service")
	docker.Eventually(m.t, "the wait for a restart", func() bool { return m.show("SubState") == "auto-restart" })
	m.systemctl("stop", "app.service")
	if state := m.show("ActiveState"); state != "inactive" {
		m.t.Errorf("stopped it is %s", state)
	}
	if all := m.processes(); len(all) != 3 {
		m.t.Errorf("of the service are left %s, want a master and two workers", all)
	}
	m.answers("version 1")
}

// killsWhatIsLeft ends the gunicorn that a stop has left.
func (m *machine) killsWhatIsLeft() {
	m.t.Helper()
	m.systemctl("kill", "app.service")
	docker.Eventually(m.t, "nothing left of the service", func() bool { return len(m.processes()) == 0 })
}

func killedAndStopped(t *testing.T, m *machine) {
	m.leave()
	m.killsWhatIsLeft()
	m.deploy("version 2")
	m.starts()
	m.answers("version 2")
}

// leftIsAdopted is with a systemd that keeps /run/app over such a stop.
func leftIsAdopted(t *testing.T, m *machine) {
	m.leave()
	master := m.Exec("cat", "/run/app/gunicorn.pid")
	m.starts()
	if now := m.Exec("cat", "/run/app/gunicorn.pid"); now != master {
		t.Errorf("gunicorn's master was %s and is %s", master, now)
	}
	m.reloads("version 2")
}

// leftIsInTheWay is with a systemd that removes /run/app at such a stop.
func leftIsInTheWay(t *testing.T, m *machine) {
	m.leave()
	if out, err := m.try("test", "-e", "/run/app"); err == nil {
		t.Errorf("the stop has left /run/app: %s", out)
	}
	if out, err := m.try("systemctl", "start", "app.service"); err == nil {
		t.Errorf("the start succeeded: %s", out)
	}
	m.journaled("Address already in use")
	m.answers("version 1")
	m.systemctl("stop", "app.service")
	m.killsWhatIsLeft()
	m.deploy("version 2")
	m.starts()
	m.answers("version 2")
}

func thePortQueuesRequests(t *testing.T, m *machine) {
	m.systemctl("start", "app.socket")
	if state := m.show("ActiveState"); state != "inactive" {
		t.Errorf("the service is %s before the first request", state)
	}
	t.Logf("the first request starts it, and takes %s", m.answers("version 1"))
	m.says("active (running)") // until systemd has heard of it, a reload is taken for a part of the start
	run := m.loaded()
	m.reloads("version 2")
	m.deploy("version 3")
	begun := time.Now()
	m.systemctl("restart", "app.service")
	t.Logf("restart took %s", since(begun))
	m.answers("version 3")
	docker.Unharmed(t, run) // each has waited, and none failed
}

// notifyReload has systemd send SIGHUP and wait for what stablehand tells.
func notifyReload(t *testing.T, m *machine) {
	m.extend("cp", "/usr/share/doc/app/notify-reload.conf", "/etc/systemd/system/app.service.d/")
	m.starts()
	if kind := m.show("Type"); kind != "notify-reload" {
		t.Fatalf("the service's type is %s", kind)
	}
	m.reloads("version 2", "version 3")
	run := m.loaded()
	m.write("'version 4'", "workers = = 3")
	m.systemctl("reload", "app.service") // systemd knows no reload that has failed
	m.says("active (running)", "was rolled back in step warm: exit code 1")
	m.answers("version 3")
	m.unharmed(run)
}
