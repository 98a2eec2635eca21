package cluster

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// greets answers with a key of the ConfigMap, where there is that.
	greets = `import pathlib

workers = 2
preload_app = True
greeting = pathlib.Path("/etc/app/greeting")
if greeting.exists():
    raw_env = ["GREETING=" + greeting.read_text().strip()]
`
	broken = "workers = = 2\n"
)

// TestTheExampleServesThroughWhateverIsDone is the example as it is: what may be done to
// it is done, one thing after the other, while clients ask its Service.
func TestTheExampleServesThroughWhateverIsDone(t *testing.T) {
	s := newSite(t)
	s.serves("Hello, version 1")
	changes(s)
	if n := s.restarts(); n != 0 {
		t.Errorf("after changes containers were started again %d times", n)
	}
	replacements(s)
	if n := s.restarts(); n != 0 {
		t.Errorf("containers were started again %d times", n)
	}
}

// TestTheExampleServesByUSR2 is the example with gunicorn's own socket.
func TestTheExampleServesByUSR2(t *testing.T) {
	s := newSite(t,
		edit{deployment, `        - name: STABLEHAND_BIND # instead of gunicorn's --bind: each generation begins afresh
          value: 0.0.0.0:8000
        - name: STABLEHAND_ENV_FILE # and with the environment as it is then
          value: /etc/app-env
`, `        - name: STABLEHAND_BIND
          value: ""
`},
		edit{deployment, `args: [`, `args: ["--bind=0.0.0.0:8000", `})
	s.serves("Hello")
	s.unharmed("USR2: a ConfigMap changed", func() {
		s.configure(map[string]string{"gunicorn.conf.py": greets, "greeting": "Hello, ConfigMap"})
		s.change()
		s.serves("Hello, ConfigMap")
	})
	s.unharmed("USR2: a key removed", func() {
		s.configure(map[string]string{"gunicorn.conf.py": greets})
		s.change()
		s.serves("Hello")
	})
	s.unharmed("USR2: a broken ConfigMap", func() {
		s.configure(map[string]string{"gunicorn.conf.py": broken})
		s.change()
		s.says(1, `msg="rolled back"`)
	})
	s.unharmed("USR2: and mended", func() {
		s.configure(map[string]string{"gunicorn.conf.py": greets, "greeting": "Hello, mended"})
		s.change()
		s.serves("Hello, mended")
	})
	replacements(s)
	if n := s.restarts(); n != 0 {
		t.Errorf("containers were started again %d times", n)
	}
}

// changes are what a ConfigMap and a Secret may go through.
func changes(s *site) {
	s.unharmed("a Secret rotated", func() {
		s.greet("Hello, version 2")
		s.change()
		s.serves("Hello, version 2")
	})
	s.unharmed("a ConfigMap changed", func() {
		s.configure(map[string]string{"gunicorn.conf.py": greets + "raw_env = [\"GREETING=Hello, ConfigMap\"]\n"})
		s.change()
		s.serves("Hello, ConfigMap")
	})
	s.unharmed("a key added", func() {
		s.configure(map[string]string{"gunicorn.conf.py": greets, "greeting": "Hello, key"})
		s.change()
		s.serves("Hello, key")
	})
	s.unharmed("a key removed", func() {
		s.configure(map[string]string{"gunicorn.conf.py": greets})
		s.change()
		s.serves("Hello, version 2")
	})
	s.unharmed("a broken ConfigMap", func() {
		s.configure(map[string]string{"gunicorn.conf.py": broken})
		s.change()
		s.says(1, `msg="rolled back"`)
	})
	s.count(3) // no probe fails for it
	old := names(s.pods())
	s.unharmed("a pod starts under it", func() {
		s.kubectl("scale", "deployment/app", "--replicas=4")
		s.until("a pod that fails", func() error { return fails(s, old) })
	})
	s.unharmed("and it is mended", func() {
		s.configure(map[string]string{"gunicorn.conf.py": greets, "greeting": "Hello, mended"})
		s.kubectl("apply", "--filename="+filepath.Join(s.dir, configMap)) // the Deployment's file has 3 replicas
		s.look()
		s.count(4)
		s.serves("Hello, mended")
	})
	s.kubectl("delete", "pod", newest(s, old), "--wait=false") // and so what has failed is gone
	s.kubectl("scale", "deployment/app", "--replicas=3")
	s.count(3)
}

// newest is the pod that is none of the old ones.
func newest(s *site, old []string) string {
	s.t.Helper()
	for _, pod := range s.pods() {
		if !slices.Contains(old, pod.Name) {
			return pod.Name
		}
	}
	s.t.Fatal("there is none")
	return ""
}

// fails says whether the pod that is none of the old ones has failed by itself.
func fails(s *site, old []string) error {
	for _, pod := range s.pods() {
		if slices.Contains(old, pod.Name) || len(pod.Status.ContainerStatuses) == 0 {
			continue
		}
		if pod.Status.ContainerStatuses[0].RestartCount >= 1 {
			return nil
		}
	}
	return fmt.Errorf("there is none so far")
}

// replacements are what replaces pods.
func replacements(s *site) {
	s.unharmed("rollout restart", func() {
		s.kubectl("rollout", "restart", "deployment/app")
		s.rolledOut()
		s.count(3)
	})
	s.unharmed("a pod deleted", func() {
		s.kubectl("delete", "pod", s.pods()[0].Name)
		s.count(3)
	})
	s.unharmed("the image changed", func() {
		s.edit("kustomization.yaml", `newTag: "1"`, `newTag: "2"`)
		s.apply()
		s.rolledOut()
		s.count(3)
	})
	s.unharmed("scaled up", func() {
		s.kubectl("scale", "deployment/app", "--replicas=6")
		s.count(6)
	})
	s.unharmed("scaled down", func() {
		s.kubectl("scale", "deployment/app", "--replicas=3")
		s.count(3)
	})
	s.kubectl("create", "poddisruptionbudget", "app", "--selector="+selector, "--min-available=2")
	s.unharmed("each pod evicted", func() {
		for _, pod := range s.pods() {
			evict(s, pod.Name)
		}
		s.count(3)
	})
	s.unharmed("the kubelet restarted", func() {
		s.c.kubelet.Process.Signal(unix.SIGTERM)
		_ = s.c.kubelet.Wait() // whatever its code
		if err := s.c.startKubelet(); err != nil {
			s.t.Fatal(err)
		}
		s.greet("Hello, after it")
		s.configure(map[string]string{"gunicorn.conf.py": greets, "greeting": "Hello, after it"})
		s.change()
		s.serves("Hello, after it, image 2")
	})
}

// evict asks for the eviction of a pod until the budget has room for it, as kubectl drain
// does.
func evict(s *site, pod string) {
	s.t.Helper()
	refused := 0
	s.until("the eviction of "+pod, func() error {
		cmd := s.c.kubectl("create", "--raw=/api/v1/namespaces/"+s.namespace+"/pods/"+pod+"/eviction", "--filename=-")
		cmd.Stdin = strings.NewReader(`{"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "` + pod + `", "namespace": "` + s.namespace + `"}}`)
		err := output(cmd)
		if err != nil {
			refused++
			time.Sleep(time.Second)
		}
		return err
	})
	s.t.Logf("the eviction of %s was refused %d times", pod, refused)
}

// TestHowLongAServiceLeadsToADeletedPod measures what STOP_DELAY has to outlast: from
// kubectl delete until no rule of kube-proxy's leads to the pod. Without STOP_DELAY
// requests are lost meanwhile.
func TestHowLongAServiceLeadsToADeletedPod(t *testing.T) {
	t.Run("with STOP_DELAY", func(t *testing.T) {
		s := newSite(t)
		var took []time.Duration
		s.unharmed("6 pods deleted, STOP_DELAY=10s", func() {
			for range 6 {
				took = append(took, deletes(s))
			}
		})
		slices.Sort(took)
		t.Logf("clients saw rules lead to a deleted pod for %s (median of %d), %s at most, %s at least", took[len(took)/2], len(took), took[len(took)-1], took[0])
		if longest := took[len(took)-1]; longest > 5*time.Second {
			t.Errorf("for %s, and the example's STOP_DELAY is 10s", longest)
		}
	})
	t.Run("without", func(t *testing.T) {
		s := newSite(t, edit{deployment, "          value: 10s", "          value: 0s"})
		saw := s.under("6 pods deleted, STOP_DELAY=0", func() {
			for range 6 {
				deletes(s)
			}
		})
		if saw.Failed == 0 {
			t.Errorf("nothing was lost: then what is STOP_DELAY good for? %s", saw)
		}
	})
}

// deletes deletes a pod, and returns how long rules lead to it, when another one is there
// in its place.
func deletes(s *site) time.Duration {
	s.t.Helper()
	pod := s.pods()[0]
	began := time.Now()
	s.kubectl("delete", "pod", pod.Name, "--wait=false")
	var took time.Duration
	s.until("no rule that leads to "+pod.Name, func() error {
		defer func() { took = time.Since(began) }()
		return rules(pod, false)
	})
	s.count(3)
	return took.Round(10 * time.Millisecond)
}
