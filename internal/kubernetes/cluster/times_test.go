package cluster

import (
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// TestTimeFromApplyToServed measures what of it is the kubelet's, by the volume on the
// node, and what is stablehand's, with no JITTER.
func TestTimeFromApplyToServed(t *testing.T) {
	for _, way := range []struct {
		name    string
		times   int
		applies func(*site)
	}{
		{"by itself", 2, (*site).apply},
		{"with an annotation of the pods", 5, (*site).change},
	} {
		t.Run(way.name, func(t *testing.T) {
			s := newSite(t, noJitter)
			var written, served []time.Duration
			for i := range way.times {
				s.greet(fmt.Sprint("Hello, change ", i))
				w, d := reaches(s, fmt.Sprint("Hello, change ", i), way.applies)
				written, served = append(written, w...), append(served, d...)
			}
			t.Logf("clients saw, %s: kubectl apply to the file %s, the file to the answer %s", way.name, summary(written), summary(served))
		})
	}
}

// summary is what there was of some durations.
func summary(all []time.Duration) string {
	slices.Sort(all)
	round := func(d time.Duration) time.Duration { return d.Round(10 * time.Millisecond) }
	return fmt.Sprintf("%s (median of %d, %s to %s)", round(all[len(all)/2]), len(all), round(all[0]), round(all[len(all)-1]))
}

// reaches applies, and returns how long it has taken from there to the file of each pod, and
// from there to its answer.
func reaches(s *site, answer string, applies func(*site)) (written, served []time.Duration) {
	s.t.Helper()
	pods := s.pods()
	before := map[string]string{}
	for _, pod := range pods {
		before[pod.Name], _ = os.Readlink(data(pod))
	}
	began := time.Now()
	applies(s)
	var mu sync.Mutex
	var all sync.WaitGroup
	for _, pod := range pods {
		all.Go(func() {
			file := quickly(func() bool { now, err := os.Readlink(data(pod)); return err == nil && now != before[pod.Name] })
			answered := quickly(func() bool { got, err := ask(pod); return err == nil && got == answer })
			mu.Lock()
			defer mu.Unlock()
			written, served = append(written, file.Sub(began)), append(served, answered.Sub(file))
		})
	}
	all.Wait()
	return written, served
}

// data is the link of a pod's volume that the kubelet exchanges.
func data(pod corev1.Pod) string { return volume(pod, "secret/env/..data") }

// quickly returns when something was first seen to be so, or what is too late.
func quickly(so func() bool) time.Time {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline) && !so(); {
		time.Sleep(10 * time.Millisecond)
	}
	return time.Now()
}
