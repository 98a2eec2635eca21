package kubernetes

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/stablehand/stablehand/entrypoint/status"
	"github.com/stablehand/stablehand/internal/docker"
)

func TestMain(m *testing.M) { os.Exit(docker.Main(m)) }

// pod is a container that is run as the Deployment says, by a Docker engine. Its
// volumes are written as the kubelet writes them.
type pod struct {
	*docker.Container
	t           *testing.T
	spec        corev1.PodSpec
	config, env volume
	url         string
}

// volume is one with a ConfigMap's data, or a Secret's.
type volume struct {
	dir  string
	data map[string]string
}

// newPod makes a pod with more options for docker run, and returns when its
// startup probe has succeeded.
func newPod(t *testing.T, options ...string) *pod {
	t.Helper()
	e, images := docker.Built(t)
	p := &pod{
		t:      t,
		spec:   manifest[*appsv1.Deployment](t, "deployment.yaml").Spec.Template.Spec,
		config: volume{t.TempDir(), manifest[*corev1.ConfigMap](t, "configmap.yaml").Data},
		env:    volume{t.TempDir(), manifest[*corev1.Secret](t, "secret.yaml").StringData},
	}
	p.write()
	words := append(options, "--network="+e.Network)
	words = append(words, p.options()...)
	p.Container = e.Create(t, append(append(words, images.Recipe), p.container().Args...)...)
	p.starts()
	return p
}

// starts returns when its startup probe has succeeded.
func (p *pod) starts() {
	p.t.Helper()
	p.Start()
	docker.Eventually(p.t, "the startup probe's success", func() bool { return p.probe(p.container().StartupProbe) == nil })
	p.url = p.port("http")
}

// port is the URL of a port of the Deployment.
func (p *pod) port(name string) string {
	p.t.Helper()
	i := slices.IndexFunc(p.container().Ports, func(port corev1.ContainerPort) bool { return port.Name == name })
	if i < 0 {
		p.t.Fatalf("the Deployment has no port %s", name)
	}
	return p.URL(fmt.Sprint(p.container().Ports[i].ContainerPort, "/tcp"))
}

func (p *pod) container() *corev1.Container { return &p.spec.Containers[0] }

// options are the options of docker run for what the pod's container is promised.
func (p *pod) options() []string {
	c := p.container()
	memory := strconv.FormatInt(c.Resources.Limits.Memory().Value(), 10)
	options := []string{
		fmt.Sprintf("--user=%d:%d", *p.spec.SecurityContext.RunAsUser, *p.spec.SecurityContext.RunAsGroup),
		fmt.Sprintf("--read-only=%t", *c.SecurityContext.ReadOnlyRootFilesystem),
		fmt.Sprintf("--security-opt=no-new-privileges=%t", !*c.SecurityContext.AllowPrivilegeEscalation),
		"--memory=" + memory, "--memory-swap=" + memory,
		"--no-healthcheck", // Kubernetes does not know an image's
	}
	for _, port := range c.Ports {
		options = append(options, fmt.Sprintf("--publish=127.0.0.1::%d", port.ContainerPort))
	}
	for _, capability := range c.SecurityContext.Capabilities.Drop {
		options = append(options, "--cap-drop="+string(capability))
	}
	for _, variable := range c.Env {
		options = append(options, "--env="+variable.Name+"="+variable.Value)
	}
	for _, mount := range c.VolumeMounts {
		options = append(options, p.mount(mount))
	}
	return options
}

func (p *pod) mount(mount corev1.VolumeMount) string {
	p.t.Helper()
	i := slices.IndexFunc(p.spec.Volumes, func(v corev1.Volume) bool { return v.Name == mount.Name })
	switch volume := p.spec.Volumes[i]; {
	case volume.ConfigMap != nil && mount.ReadOnly:
		return "--volume=" + p.config.dir + ":" + mount.MountPath + ":ro"
	case volume.Secret != nil && mount.ReadOnly:
		return "--volume=" + p.env.dir + ":" + mount.MountPath + ":ro"
	case volume.EmptyDir != nil && volume.EmptyDir.Medium == corev1.StorageMediumMemory:
		return fmt.Sprintf("--tmpfs=%s:size=%d,mode=1777", mount.MountPath, volume.EmptyDir.SizeLimit.Value())
	}
	p.t.Fatalf("it is not known how to mount %s", mount.Name)
	return ""
}

// value is that of a variable in a container's environment.
func value(t *testing.T, c corev1.Container, name string) string {
	t.Helper()
	i := slices.IndexFunc(c.Env, func(v corev1.EnvVar) bool { return v.Name == name })
	if i < 0 {
		t.Fatalf("the Deployment has no %s", name)
	}
	return c.Env[i].Value
}

// write does what the kubelet does when it syncs the pod.
func (p *pod) write() {
	p.t.Helper()
	for _, v := range []volume{p.config, p.env} {
		data := map[string][]byte{}
		for name, text := range v.data {
			data[name] = []byte(text)
		}
		if err := WriteVolume(v.dir, data); err != nil {
			p.t.Fatal(err)
		}
	}
}

// probe does what the kubelet does for a probe, once.
func (p *pod) probe(probe *corev1.Probe) error {
	_, err := docker.Shared(p.t).Do(append([]string{"exec", p.ID}, probe.Exec.Command...)...)
	return err
}

// handsOff waits until a generation has taken over, with an answer that clients
// get from then on.
func (p *pod) handsOff(generation int, answer string) {
	p.t.Helper()
	p.Says(`msg="handed off"`, fmt.Sprintf("generation=%d ", generation))
	p.Answers(p.url, answer)
}

// stops ends it as the kubelet ends a pod's containers.
func (p *pod) stops() {
	p.t.Helper()
	p.Do("stop", fmt.Sprint("--time=", *p.spec.TerminationGracePeriodSeconds), p.ID)
	if code := p.Inspect("{{.State.ExitCode}}"); code != "0" {
		p.t.Errorf("it stopped with exit code %s", code)
	}
}

func ended(c *docker.Container) bool { return c.Inspect("{{.State.Running}}") == "false" }

func TestAPodServesWhileItsConfigMapChanges(t *testing.T) {
	t.Parallel() // each waits a random part of JITTER before a handoff
	p := newPod(t)
	p.Answers(p.url, "Hello, version 1")
	run := p.Load(p.url, 4)
	defer run.Stop()

	p.env.data["GREETING"] = "Hello, version 2"
	p.write()
	p.handsOff(2, "Hello, version 2")

	delete(p.env.data, "GREETING")
	p.write()
	p.handsOff(3, "Hello") // the application's own

	p.env.data["GREETING"] = "Hello, version 4" // a key is added
	p.write()
	p.handsOff(4, "Hello, version 4")

	before := written(t, p.env.dir)
	p.write() // a resync, which has nothing to do
	if after := written(t, p.env.dir); after != before {
		t.Errorf("a resync with nothing new has written %s", after)
	}

	settings := p.config.data["gunicorn.conf.py"]
	p.config.data["gunicorn.conf.py"] = "workers = = 2\n"
	p.write()
	p.Says(`msg="rolled back"`, "generation=5 ")
	for name, probe := range map[string]*corev1.Probe{"liveness": p.container().LivenessProbe, "readiness": p.container().ReadinessProbe} {
		if err := p.probe(probe); err != nil {
			t.Errorf("after a broken change the %s probe fails: %v", name, err)
		}
	}
	p.config.data["gunicorn.conf.py"] = settings + "\n# mended\n"
	p.write()
	p.handsOff(6, "Hello, version 4")

	docker.Unharmed(t, run)
	if n := strings.Count(p.Log(), `msg="content changed"`); n != 5 {
		t.Errorf("it has seen %d changes, want 5", n)
	}
	for _, counted := range []string{`{outcome="handed_off"} 4`, `{outcome="rolled_back"} 1`} {
		if metrics, err := p.Ask(p.port("metrics") + "metrics"); !strings.Contains(metrics, "stablehand_handoffs_total"+counted) {
			t.Errorf("the metrics have no %s: %v\n%s", counted, err, metrics)
		}
	}
	p.stops()
}

// written is the directory that holds a volume's files: another one after each
// write.
func written(t *testing.T, volume string) string {
	t.Helper()
	dir, err := os.Readlink(filepath.Join(volume, "..data"))
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestADeletedPodServesOnUntilNoServiceLeadsToIt(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	p.Answers(p.url, "Hello, version 1")
	if err := p.probe(p.container().ReadinessProbe); err != nil {
		t.Fatal("before the stop:", err)
	}
	delay, err := time.ParseDuration(value(t, *p.container(), "STABLEHAND_STOP_DELAY"))
	if err != nil {
		t.Fatal(err)
	}
	run := p.Load(p.url, 2)
	defer run.Stop()
	told := time.Now()
	p.Do("kill", "--signal=TERM", p.ID)
	docker.Eventually(t, "the readiness probe's failure", func() bool { return p.probe(p.container().ReadinessProbe) != nil })
	if err := p.probe(p.container().LivenessProbe); err != nil {
		t.Errorf("the liveness probe fails, too: %v", err)
	}
	time.Sleep(time.Until(told.Add(delay / 2))) // by when a Service's endpoints would have changed
	docker.Unharmed(t, run)
	docker.Eventually(t, "its end", func() bool { return ended(p.Container) })
	if after := time.Since(told); after < delay {
		t.Errorf("it has ended %s after SIGTERM, want %s and more", after, delay)
	}
	if code := p.Inspect("{{.State.ExitCode}}"); code != "0" {
		t.Errorf("it ended with exit code %s", code)
	}
}

// TestASharedProcessNamespace has two containers and a sandbox's pause share
// their processes.
func TestASharedProcessNamespace(t *testing.T) {
	t.Parallel()
	share := sandbox(t)
	p := newPod(t, share, "--env=STABLEHAND_READY_TIMEOUT=10s")
	unharmed := bystander(t, share)
	if name := p.Exec("cat", "/proc/1/comm"); name != "pause" {
		t.Fatalf("PID 1 is %s", name)
	}
	run := p.Load(p.url, 2)
	defer run.Stop()
	for i := range 2 {
		greeting := fmt.Sprint("Hello, version ", i+2)
		p.env.data["GREETING"] = greeting
		p.write()
		p.handsOff(i+2, greeting)
	}
	if orphans := p.Exec("sh", "-c", `grep -l "^PPid:.1$" /proc/[0-9]*/status | wc -l`); orphans != "0" {
		t.Errorf("%s processes of the containers are children of PID 1", orphans)
	}
	settings := p.config.data["gunicorn.conf.py"]
	p.config.data["gunicorn.conf.py"] = "import time\n\n\ndef post_fork(arbiter, worker):\n    time.sleep(3600)\n"
	p.write()
	p.Says(`msg="rolled back"`, "READY_TIMEOUT")
	docker.Unharmed(t, run)
	p.config.data["gunicorn.conf.py"] = settings
	p.write()
	p.handsOff(5, "Hello, version 3")
	p.stops()

	p.starts()
	var now status.Status
	if err := json.Unmarshal([]byte(p.Exec("stablehand", "status", "--json")), &now); err != nil {
		t.Fatal(err)
	}
	p.Exec("sh", "-c", fmt.Sprint("kill -KILL ", now.Serving.PID))
	docker.Eventually(t, "its end with the serving master", func() bool { return ended(p.Container) })
	unharmed()
}

// bystander runs a gunicorn that nobody looks after, with the pod's user and words,
// in a container of its own. What it returns checks that it was left alone.
func bystander(t *testing.T, share string) func() {
	t.Helper()
	e, images := docker.Built(t)
	c := e.Create(t, share, "--network="+e.Network, "--entrypoint=gunicorn", images.Recipe, "--workers=2", "--bind=0.0.0.0:8000", "app:app")
	c.Start()
	c.Says("Booting worker")
	its := func() string { return c.Do("top", c.ID, "-o", "pid") }
	docker.Eventually(t, "a headline, a master and two workers", func() bool { return len(strings.Fields(its())) == 4 })
	before := its()
	return func() {
		t.Helper()
		if after := its(); after != before {
			t.Errorf("the other container's gunicorn was %q and is %q", before, after)
		}
		if log := c.Log(); strings.Contains(log, "Handling signal") {
			t.Errorf("it got a signal:\n%s", log)
		}
	}
}

// TestAHandoffFromASecondContainerEndsTheFirst is why stablehand is the entrypoint:
// what it does to a gunicorn that is an entrypoint itself, any other container with
// the same processes would do.
func TestAHandoffFromASecondContainerEndsTheFirst(t *testing.T) {
	t.Parallel()
	e, images := docker.Built(t)
	share := sandbox(t)
	first := e.Create(t, share, "--network="+e.Network, "--publish=127.0.0.1::8000", "--entrypoint=gunicorn", images.Recipe, "--bind=0.0.0.0:8000", "--pid=/tmp/pid", "app:app")
	second := e.Create(t, share, "--entrypoint=sleep", images.Recipe, "3600")
	first.Start()
	second.Start()
	url := first.URL("8000/tcp")
	first.Answers(url, "Hello")

	master := first.Exec("cat", "/tmp/pid")
	second.Exec("sh", "-c", "kill -USR2 "+master)
	docker.Eventually(t, "a successor with a worker", func() bool { return strings.Count(first.Log(), "Booting worker") == 2 })
	second.Exec("sh", "-c", "kill -TERM "+master)
	docker.Eventually(t, "the first container's end", func() bool { return ended(first) })
	if answer, err := first.Ask(url); err == nil {
		t.Errorf("its successor has answered %q", answer)
	}
}

// sandbox starts a pod's sandbox, and returns the option of docker run for containers
// that share its processes.
func sandbox(t *testing.T) string {
	t.Helper()
	e := docker.Shared(t)
	c := e.Create(t, pause(t, e))
	c.Start()
	return "--pid=container:" + c.ID
}

// pause builds the image of a pod's sandbox from its source, which comes with
// Kubernetes, and returns its name.
func pause(t *testing.T, e *docker.Engine) string {
	t.Helper()
	source, err := exec.Command("go", "list", "-m", "-f={{.Dir}}", "k8s.io/kubernetes").Output()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	compile := exec.Command("gcc", "-Os", "-static", "-o", filepath.Join(dir, "pause"), strings.TrimSpace(string(source))+"/build/pause/linux/pause.c")
	out, err := compile.CombinedOutput()
	if errors.Is(err, exec.ErrNotFound) {
		t.Skip("gcc is missing (Debian: apt-get install gcc libc6-dev)")
	}
	if err != nil {
		t.Fatalf("compiling pause: %v\n%s", err, out)
	}
	if err := os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte("FROM scratch\nCOPY pause /\nENTRYPOINT [\"/pause\"]\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	image, err := e.Build("pause", dir)
	if err != nil {
		t.Fatal(err)
	}
	return image
}
