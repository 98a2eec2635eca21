package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/stablehand/stablehand/internal/load"
)

// site is examples/kubernetes in a namespace of its own, which enforces Pod Security's
// level restricted.
type site struct {
	t         *testing.T
	c         *cluster
	namespace string
	dir       string // the example's copy
	url       string // of the Service
}

// edit is one of a file of the example.
type edit struct{ file, old, new string }

const (
	deployment = "deployment.yaml"
	configMap  = "configmap.yaml"
	secret     = "secret.yaml"
)

var (
	noJitter = edit{deployment, "          value: 30s", "          value: 0s"}
	modest   = edit{deployment, "cpu: 200m", "cpu: 10m"} // for many pods on one node
)

// replicas is how many pods there are to be.
func replicas(n int) edit {
	return edit{deployment, "  replicas: 3", fmt.Sprint("  replicas: ", n)}
}

// setting is a variable of stablehand's that the example does not have.
func setting(name, value string) edit {
	return edit{deployment, "        env:\n", fmt.Sprintf("        env:\n        - name: STABLEHAND_%s\n          value: %q\n", name, value)}
}

// newSite applies the example with some edits, and returns when its pods are ready.
func newSite(t *testing.T, edits ...edit) *site {
	t.Helper()
	return newSiteOf(t, "", edits...)
}

// newSiteOf is newSite with a configuration of gunicorn's that is not the example's.
func newSiteOf(t *testing.T, configuration string, edits ...edit) *site {
	t.Helper()
	s := prepare(t, edits...)
	if configuration != "" {
		s.configure(map[string]string{"gunicorn.conf.py": configuration})
	}
	s.apply()
	s.rolledOut()
	for _, pod := range s.pods() {
		s.until("a rule that leads to "+pod.Name, func() error { return rules(pod, true) })
	}
	return s
}

// rules is an error unless there are rules of kube-proxy's that lead to a pod, or are not.
// A connection that is begun too early is led nowhere, and so is each that gets its port in
// the next two minutes: the kernel keeps where it has led one.
func rules(pod corev1.Pod, want bool) error {
	all, err := text(exec.Command("iptables-save", "--table=nat"))
	if err == nil && strings.Contains(all, pod.Status.PodIP+":8000") != want {
		err = fmt.Errorf("that there are is %v", !want)
	}
	return err
}

// prepare makes the namespace, and applies nothing yet. When the test ends the namespace
// goes, and a test that failed shows what was in it.
func prepare(t *testing.T, edits ...edit) *site {
	t.Helper()
	c := shared(t)
	s := &site{t: t, c: c, namespace: fmt.Sprint("site-", time.Now().UnixNano()), dir: t.TempDir()}
	if err := os.CopyFS(s.dir, os.DirFS(filepath.Join(c.top, "examples/kubernetes"))); err != nil {
		t.Fatal(err)
	}
	s.edit("kustomization.yaml", "resources:", "namespace: "+s.namespace+"\nimages: [{name: app, newName: "+appImage+", newTag: \"1\"}]\nresources:")
	for _, e := range edits {
		s.edit(e.file, e.old, e.new)
	}
	s.kubectl("create", "namespace", s.namespace)
	s.kubectl("label", "namespace", s.namespace, "pod-security.kubernetes.io/enforce=restricted")
	t.Cleanup(func() {
		if t.Failed() {
			s.show()
		}
		s.kubectl("delete", "deployments", "--all")
		s.kubectl("delete", "pods", "--all", "--grace-period=1")
		s.kubectl("delete", "namespace", s.namespace)
	})
	return s
}

// show logs what there is to know.
func (s *site) show() {
	for _, words := range [][]string{
		{"get", "pods", "--output=wide"}, {"get", "events", "--sort-by=.lastTimestamp"},
		{"logs", "--selector=" + selector, "--prefix", "--tail=40"},
		{"logs", "--selector=" + selector, "--prefix", "--tail=40", "--previous"},
	} {
		said, err := text(s.c.kubectl(append(words, "--namespace="+s.namespace)...))
		s.t.Log(words, err, said)
	}
}

const selector = "app.kubernetes.io/name=app"

// edit changes a file of the copy.
func (s *site) edit(file, old, new string) {
	s.t.Helper()
	path := filepath.Join(s.dir, file)
	text, err := os.ReadFile(path)
	if err != nil {
		s.t.Fatal(err)
	}
	if strings.Count(string(text), old) != 1 {
		s.t.Fatalf("%s has %q %d times", file, old, strings.Count(string(text), old))
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(text), old, new, 1)), 0o644); err != nil {
		s.t.Fatal(err)
	}
}

// configure gives the ConfigMap another data: files by their names.
func (s *site) configure(data map[string]string) {
	s.t.Helper()
	text := "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: app\n  labels:\n    app.kubernetes.io/name: app\ndata:\n"
	for name, content := range data {
		quoted, _ := json.Marshal(content)
		text += fmt.Sprintf("  %s: %s\n", name, quoted)
	}
	if err := os.WriteFile(filepath.Join(s.dir, configMap), []byte(text), 0o644); err != nil {
		s.t.Fatal(err)
	}
}

// greet gives the Secret another greeting.
func (s *site) greet(greeting string) {
	s.t.Helper()
	text := "apiVersion: v1\nkind: Secret\nmetadata:\n  name: app\n  labels:\n    app.kubernetes.io/name: app\nstringData:\n  GREETING: " + greeting + "\n"
	if err := os.WriteFile(filepath.Join(s.dir, secret), []byte(text), 0o644); err != nil {
		s.t.Fatal(err)
	}
}

// kubectl runs a command in the namespace, which is to succeed.
func (s *site) kubectl(words ...string) string {
	s.t.Helper()
	said, err := s.try(words...)
	if err != nil {
		s.t.Fatal(err)
	}
	return said
}

// try runs a command in the namespace.
func (s *site) try(words ...string) (string, error) {
	return text(s.c.kubectl(append([]string{"--namespace=" + s.namespace}, words...)...))
}

// apply applies the copy as it is, and learns where the Service is.
func (s *site) apply() {
	s.t.Helper()
	s.kubectl("apply", "--kustomize="+s.dir)
	if s.url == "" {
		s.url = "http://" + s.kubectl("get", "service", "app", "--output=jsonpath={.spec.clusterIP}") + "/"
	}
}

// look has the kubelet look at the volumes at once, by the command that the docs have.
func (s *site) look() {
	s.t.Helper()
	s.kubectl("annotate", "pods", "--selector="+selector, "--overwrite", fmt.Sprint("looked=", time.Now().UnixNano()))
}

// change applies, and has the kubelet look.
func (s *site) change() {
	s.t.Helper()
	s.apply()
	s.look()
}

// rolledOut waits until all pods are the newest template's, and ready.
func (s *site) rolledOut() {
	s.t.Helper()
	s.kubectl("rollout", "status", "deployment/app", fmt.Sprint("--timeout=", patience))
}

// volume is the path of what is in a volume of a pod's on the node.
func volume(pod corev1.Pod, path string) string {
	return fmt.Sprintf("/var/lib/kubelet/pods/%s/volumes/kubernetes.io~%s", pod.UID, path)
}

// pods are those that nobody has deleted, in the order of their names.
func (s *site) pods() []corev1.Pod {
	s.t.Helper()
	all, err := s.all()
	if err != nil {
		s.t.Fatal(err)
	}
	return slices.DeleteFunc(all, func(p corev1.Pod) bool { return p.DeletionTimestamp != nil })
}

// pod is one of the pods, as it is now.
func (s *site) pod(name string) *corev1.Pod {
	s.t.Helper()
	pod, err := s.c.api.CoreV1().Pods(s.namespace).Get(s.t.Context(), name, metav1.GetOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	return pod
}

// all are the pods, with those that are being deleted.
func (s *site) all() ([]corev1.Pod, error) {
	list, err := s.c.api.CoreV1().Pods(s.namespace).List(s.t.Context(), metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return nil, err
	}
	return list.Items, nil
}

// log is what a pod's container has said, each line after the time at which it was read.
func (s *site) log(pod string) (string, error) {
	text, err := s.c.api.CoreV1().Pods(s.namespace).GetLogs(pod, &corev1.PodLogOptions{Timestamps: true}).DoRaw(s.t.Context())
	return string(text), err
}

// names are the names of pods.
func names(pods []corev1.Pod) (names []string) {
	for _, pod := range pods {
		names = append(names, pod.Name)
	}
	return names
}

// ready says whether a pod is.
func ready(pod corev1.Pod) bool {
	return slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// count waits until there are so many pods, and all are ready and no others left.
func (s *site) count(n int) {
	s.t.Helper()
	s.until(fmt.Sprint(n, " pods"), func() error {
		pods, err := s.all()
		unready := slices.DeleteFunc(slices.Clone(pods), ready)
		if err == nil && (len(pods) != n || len(unready) > 0) {
			err = fmt.Errorf("there are %d, of which are not ready: %s", len(pods), names(unready))
		}
		return err
	})
}

// until waits until something works.
func (s *site) until(what string, works func() error) {
	s.t.Helper()
	if err := until(what, works); err != nil {
		s.t.Fatal(err)
	}
}

// ask asks one pod.
func ask(pod corev1.Pod) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+pod.Status.PodIP+":8000/", nil)
	if err != nil {
		return "", err
	}
	request.Close = true
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return strings.TrimSpace(string(body)), err
}

// serves waits until each pod answers with a text.
func (s *site) serves(answer string) {
	s.t.Helper()
	for _, pod := range s.pods() {
		s.until(pod.Name, func() error {
			got, err := ask(pod)
			if err == nil && got != answer {
				err = fmt.Errorf("answers %q, not %q", got, answer)
			}
			return err
		})
	}
}

// says waits until the log of each pod has a line with all these parts, so many times.
func (s *site) says(times int, parts ...string) {
	s.t.Helper()
	for _, pod := range s.pods() {
		s.until(pod.Name+"'s log", func() error {
			log, err := s.log(pod.Name)
			if n := len(lines(log, parts...)); err == nil && n < times {
				err = fmt.Errorf("%d times %q", n, parts)
			}
			return err
		})
	}
}

// lines are those of a log that have all these parts.
func lines(log string, parts ...string) (found []string) {
	for line := range strings.Lines(log) {
		if !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(line, part) }) {
			found = append(found, line)
		}
	}
	return found
}

// restarts is how often containers of the pods were started again.
func (s *site) restarts() (n int) {
	s.t.Helper()
	for _, pod := range s.pods() {
		for _, container := range pod.Status.ContainerStatuses {
			n += int(container.RestartCount)
		}
	}
	return n
}

// load begins to ask the Service.
func (s *site) load() *load.Run {
	s.t.Helper()
	run := load.Start(s.t.Context(), load.Options{URL: s.url, Clients: 4, Pause: 10 * time.Millisecond})
	s.more(run)
	return run
}

// more waits for some hundred requests more, in each of which something late would show.
func (s *site) more(run *load.Run) {
	s.t.Helper()
	least := run.SoFar().Requests + 400
	s.until("requests", func() error {
		if run.SoFar().Requests < least {
			return errors.New("there are not as many")
		}
		return nil
	})
}

// under does something while clients ask the Service, and tells what they saw.
func (s *site) under(what string, do func()) load.Result {
	s.t.Helper()
	run := s.load()
	defer run.Stop()
	do()
	s.more(run)
	saw := run.Stop()
	s.t.Logf("clients saw, %s: %s", what, saw)
	s.t.Logf("clients saw | %s | %d | %d | %s | %s |", what, saw.Requests, saw.Failed, saw.Silence.Round(time.Millisecond), saw.End.Sub(saw.Start).Round(100*time.Millisecond))
	return saw
}

// unharmed is under, where no request may be lost.
func (s *site) unharmed(what string, do func()) {
	s.t.Helper()
	if saw := s.under(what, do); saw.Failed > 0 {
		s.t.Errorf("%s: not every request was answered: %s", what, saw)
	}
}
