package docs

import (
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stablehand/stablehand/entrypoint"
)

const (
	// gracefulTimeout is gunicorn's own default, which each example has.
	gracefulTimeout = 30 * time.Second

	// healthcheckTimeout is how long stablehand healthcheck waits for an answer.
	healthcheckTimeout = 3 * time.Second

	// metricsLag is how late an autoscaler knows of a pod's CPU, amply: metrics-server
	// asks the kubelets each 15 s, and they look each 10 s.
	metricsLag = time.Minute
)

// settings reads what a file sets, by a pattern whose last group is the value: a
// number of seconds, or a duration.
func settings(t *testing.T, file, pattern string) (values []time.Duration) {
	t.Helper()
	for _, found := range regexp.MustCompile("(?m)"+pattern).FindAllStringSubmatch(read(t, file), -1) {
		text := found[len(found)-1]
		if _, err := strconv.Atoi(text); err == nil {
			text += "s"
		}
		value, err := time.ParseDuration(strings.ReplaceAll(text, "min", "m"))
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		values = append(values, value)
	}
	if len(values) == 0 {
		t.Fatalf("%s has no %s", file, pattern)
	}
	return values
}

// setting is one that a file has once.
func setting(t *testing.T, file, pattern string) time.Duration {
	t.Helper()
	values := settings(t, file, pattern)
	if len(values) != 1 {
		t.Errorf("%s has %d times %s", file, len(values), pattern)
	}
	return values[0]
}

func inOrder(t *testing.T, what string, times ...time.Duration) {
	t.Helper()
	for i := range len(times) - 1 {
		if times[i] >= times[i+1] {
			t.Errorf("%s: %v, want each longer than the one before", what, times)
			return
		}
	}
}

// TestKubernetesWaitsLongEnough is about the probes and times of the Deployment, and the
// page that tells of them.
func TestKubernetesWaitsLongEnough(t *testing.T) {
	const file = "../examples/kubernetes/deployment.yaml"
	c, _ := entrypoint.ReadConfig(nil)
	text := read(t, file)
	startup := regexp.MustCompile(`(?s)startupProbe:.*?periodSeconds: (\d+)\s+failureThreshold: (\d+)`).FindStringSubmatch(text)
	if startup == nil {
		t.Fatalf("%s has no startupProbe", file)
	}
	period, _ := strconv.Atoi(startup[1])
	times, _ := strconv.Atoi(startup[2])
	// The kubelet counts a new container's failures on from those of the one before.
	inOrder(t, "ten READY_TIMEOUTs, the startup probe", 10*c.ReadyTimeout, time.Duration(period*times)*time.Second)

	timeouts := settings(t, file, `^ *timeoutSeconds: (\d+)$`)
	if len(timeouts) != 3 {
		t.Errorf("%s: %d probes have a timeout, want 3", file, len(timeouts))
	}
	for _, timeout := range timeouts {
		inOrder(t, "healthcheck's own timeout, timeoutSeconds", healthcheckTimeout, timeout)
	}

	delay := setting(t, file, `STABLEHAND_STOP_DELAY.*\n *value: (\w+)$`)
	grace := setting(t, file, `terminationGracePeriodSeconds: (\d+)$`)
	inOrder(t, "STOP_DELAY and graceful_timeout, terminationGracePeriodSeconds", delay+gracefulTimeout, grace)

	page := read(t, "how-to/kubernetes.md")
	for _, want := range []string{
		startup[2] + " times, every " + startup[1] + " s",
		"| `timeoutSeconds` of all three | " + seconds(timeouts[0]) + " |",
		"| STABLEHAND_STOP_DELAY | " + delay.String() + " |",
		"| `terminationGracePeriodSeconds` | " + seconds(grace) + " |",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("how-to/kubernetes.md does not say %q", want)
		}
	}
	if want := "`terminationGracePeriodSeconds: " + seconds(grace) + "` | It counts from the deletion: STOP_DELAY (" + seconds(delay) + " s)"; !strings.Contains(read(t, "../examples/kubernetes/README.md"), want) {
		t.Errorf("examples/kubernetes/README.md does not say %q", want)
	}
}

// TestTheAutoscalerWaitsAHandoffOut is about the window of autoscaler.yaml, in which all
// pods may load the application once.
func TestTheAutoscalerWaitsAHandoffOut(t *testing.T) {
	const dir = "../examples/kubernetes/"
	jitter := setting(t, dir+"deployment.yaml", `STABLEHAND_JITTER.*\n *value: (\w+)$`)
	window := setting(t, dir+"autoscaler.yaml", `stabilizationWindowSeconds: (\d+)$`)
	inOrder(t, "JITTER and the lag of metrics, the window", jitter+metricsLag, window)
	page := read(t, dir+"README.md")
	for _, want := range []string{"`stabilizationWindowSeconds` is " + seconds(window) + " ", "JITTER (" + seconds(jitter) + " s), a start, and the minute"} {
		if !strings.Contains(page, want) {
			t.Errorf("examples/kubernetes/README.md does not say %q", want)
		}
	}
}

func seconds(d time.Duration) string { return strconv.Itoa(int(d.Seconds())) }

// TestEachHEALTHCHECKIsTheSame is about those of the README, of each Dockerfile and of
// the page on containers.
func TestEachHEALTHCHECKIsTheSame(t *testing.T) {
	files, _ := filepath.Glob("../examples/*/Dockerfile")
	lines, shown := map[string][]string{}, 0
	for _, file := range append(files, "../Dockerfile", "../README.md", "how-to/container.md") {
		for _, line := range regexp.MustCompile(`(?m)^HEALTHCHECK .*$`).FindAllString(read(t, file), -1) {
			lines[line] = append(lines[line], file)
			shown++
		}
	}
	if len(lines) != 1 || shown < 8 {
		t.Errorf("%d lines, want at least 8 that are the same: %v", shown, lines)
	}
	c, _ := entrypoint.ReadConfig(nil)
	period := setting(t, "how-to/container.md", `^HEALTHCHECK .*--start-period=(\w+) `)
	if period < c.ReadyTimeout {
		t.Errorf("the start period is %v, and READY_TIMEOUT %v", period, c.ReadyTimeout)
	}
	inOrder(t, "healthcheck's own timeout, Docker's", healthcheckTimeout, setting(t, "how-to/container.md", `^HEALTHCHECK .*--timeout=(\w+) `))
}

// TestWhoStopsItWaitsLongEnough is about compose, systemd and supervisor.
func TestWhoStopsItWaitsLongEnough(t *testing.T) {
	inOrder(t, "graceful_timeout, stop_grace_period", gracefulTimeout, setting(t, "../docker-compose.yml", `stop_grace_period: (\w+)`))

	const unit, program = "../examples/systemd/app.service", "../examples/supervisor/supervisord.conf"
	c, _ := entrypoint.ReadConfig(nil)
	inOrder(t, "graceful_timeout, STOP_TIMEOUT, TimeoutStopSec", gracefulTimeout,
		setting(t, unit, `^Environment=STABLEHAND_STOP_TIMEOUT=(\w+)$`), setting(t, unit, `^TimeoutStopSec=(\w+)$`))
	inOrder(t, "two handoffs, TimeoutStartSec", 2*(c.ReadyTimeout+gracefulTimeout+10*time.Second), setting(t, unit, `^TimeoutStartSec=(\w+)$`))
	inOrder(t, "graceful_timeout, STOP_TIMEOUT, stopwaitsecs", gracefulTimeout,
		setting(t, program, `STABLEHAND_STOP_TIMEOUT="(\w+)"`), setting(t, program, `^stopwaitsecs=(\d+)$`))

	for page, want := range map[string]string{
		"how-to/systemd.md":    "graceful_timeout (30 s), below STABLEHAND_STOP_TIMEOUT (" + seconds(setting(t, unit, `^Environment=STABLEHAND_STOP_TIMEOUT=(\w+)$`)) + " s), below `TimeoutStopSec=` (" + seconds(setting(t, unit, `^TimeoutStopSec=(\w+)$`)) + " s)",
		"how-to/supervisor.md": "graceful_timeout (30 s), below STABLEHAND_STOP_TIMEOUT (" + seconds(setting(t, program, `STABLEHAND_STOP_TIMEOUT="(\w+)"`)) + " s), below `stopwaitsecs` (" + seconds(setting(t, program, `^stopwaitsecs=(\d+)$`)) + ")",
	} {
		if !strings.Contains(read(t, page), want) {
			t.Errorf("%s does not say %q", page, want)
		}
	}
	configs, _ := filepath.Glob("../examples/*/gunicorn.conf.py")
	nested, _ := filepath.Glob("../examples/*/config/gunicorn.conf.py")
	if configs = append(configs, nested...); len(configs) < 5 {
		t.Errorf("only %d examples have a gunicorn.conf.py", len(configs))
	}
	for _, config := range configs {
		for _, found := range regexp.MustCompile(`(?m)^graceful_timeout = (\d+)$`).FindAllStringSubmatch(read(t, config), -1) {
			if found[1] != seconds(gracefulTimeout) {
				t.Errorf("%s: graceful_timeout is %s, and the times here are for %v", config, found[1], gracefulTimeout)
			}
		}
	}
}
