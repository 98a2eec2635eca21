package cluster

import (
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// loads are how long applications take to load. The last one has READY_TIMEOUT raised.
var loads = []time.Duration{5 * time.Second, time.Minute, 5 * time.Minute}

// slow takes a while to load, in the master, as an application does that is preloaded.
func slow(load time.Duration) string {
	return fmt.Sprintf("import time\n\ntime.sleep(%d)\n", int(load.Seconds())) + greets
}

// TestNoProbeEndsAnythingSlow has applications that are slow to load start, hand off, be
// rolled back and stop before the example's probes.
func TestNoProbeEndsAnythingSlow(t *testing.T) {
	t.Parallel()
	for _, load := range loads {
		t.Run(load.String(), func(t *testing.T) {
			t.Parallel()
			what := fmt.Sprintf("%s to load: ", load)
			s := newSiteOf(t, slow(load), noJitter, modest, setting("READY_TIMEOUT", (load+2*time.Minute).String()))
			s.unharmed(what+"a handoff", func() {
				s.greet("Hello, version 2")
				s.change()
				s.serves("Hello, version 2")
			})
			s.unharmed(what+"a pod deleted", func() {
				s.kubectl("delete", "pod", s.pods()[0].Name)
				s.count(3)
			})
			s.unharmed(what+"a broken change", func() {
				s.configure(map[string]string{"gunicorn.conf.py": slow(load) + `raise ValueError("broken")` + "\n"})
				s.change()
				s.says(1, `msg="rolled back"`)
			})
			s.serves("Hello, version 2")
			t.Logf("clients saw, %sfailures of probes: %v", what, s.failures())
			if n := s.restarts(); n != 0 {
				t.Errorf("containers were started again %d times", n)
			}
			if n := s.failures()["Liveness"]; n != 0 {
				t.Errorf("the livenessProbe has failed %d times", n)
			}
		})
	}
}

// TestTheKubeletCountsFailuresOnOverContainers is why the example's startupProbe may fail
// for an hour: one that may fail for a little longer than READY_TIMEOUT ends the first
// container never, and the second one in the middle of its start.
func TestTheKubeletCountsFailuresOnOverContainers(t *testing.T) {
	t.Parallel()
	s := prepare(t, replicas(1), modest, setting("READY_TIMEOUT", "20s"),
		edit{deployment, "failureThreshold: 1800", "failureThreshold: 14"}) // every 2 s
	s.configure(map[string]string{"gunicorn.conf.py": slow(time.Hour)})
	s.apply()
	var lives []time.Duration
	seen := map[string]bool{"": true}
	s.until("two containers that have ended", func() error {
		for _, pod := range s.pods() {
			for _, status := range pod.Status.ContainerStatuses {
				for _, state := range []corev1.ContainerState{status.LastTerminationState, status.State} {
					if ended := state.Terminated; ended != nil && !seen[ended.ContainerID] {
						seen[ended.ContainerID] = true
						lives = append(lives, ended.FinishedAt.Sub(ended.StartedAt.Time))
					}
				}
			}
		}
		if len(lives) < 2 {
			return fmt.Errorf("there are %d", len(lives))
		}
		return nil
	})
	t.Logf("clients saw nothing; with READY_TIMEOUT=20s, and a startupProbe that may fail for 28 s, containers lived %s", lives)
	if lives[1] >= lives[0] {
		t.Error("then the threshold of the example need not be as large")
	}
}

// failures are how often probes have failed, by their kind, of all pods that there were.
func (s *site) failures() map[string]int {
	s.t.Helper()
	list, err := s.c.api.CoreV1().Events(s.namespace).List(s.t.Context(), metav1.ListOptions{FieldSelector: "reason=Unhealthy"})
	if err != nil {
		s.t.Fatal(err)
	}
	failures := map[string]int{}
	for _, event := range list.Items {
		kind, _, _ := strings.Cut(event.Message, " ")
		failures[kind] += max(1, int(event.Count))
	}
	return failures
}
