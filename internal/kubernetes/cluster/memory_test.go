package cluster

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
)

const (
	// heavy has 60 MiB in each worker, beside what they share.
	heavy = greets + `workers = 4


def post_worker_init(worker):
    worker.ballast = b"x" * (60 << 20)
`

	// eats has a master that takes all the memory there is, once a file asks for it.
	eats = greets + `import os
import threading
import time


def when_ready(server):
    threading.Thread(target=eat, daemon=True).start()


def eat():
    while not os.path.exists("/tmp/eat"):
        time.sleep(0.1)
    os.remove("/tmp/eat")
    eaten = []
    while True:
        eaten.append(b"x" * (1 << 20))
`
)

// TestMemoryDecidesBeforeAHandoff shows that with MEMORY=wait and shrink no process is
// killed and no request is lost, however little there is, and that the change is served
// where there is room. The limits are in percent of what one generation takes.
func TestMemoryDecidesBeforeAHandoff(t *testing.T) {
	t.Parallel()
	one := takesOne(t)
	for _, test := range []struct {
		memory  string
		percent int64
		served  bool
		says    []string
	}{
		{"wait", 115, false, []string{`msg="rolled back"`, "step=room", `reason="no room: `}},
		{"wait", 150, false, []string{`msg="rolled back"`, "step=room", `reason="no room: `}},
		{"wait", 220, true, []string{`msg="handed off"`}},
		{"shrink", 115, false, []string{`msg="workers given back"`}},
		{"shrink", 150, true, []string{`msg="room made"`}},
		{"shrink", 220, true, []string{`msg="handed off"`}},
		{"warn", 220, true, []string{`msg="handed off"`}},
	} {
		what := fmt.Sprintf("MEMORY=%s, %d %%", test.memory, test.percent)
		t.Run(what, func(t *testing.T) {
			s := newSiteOf(t, heavy, noJitter, replicas(1), modest, limit(one*test.percent/100),
				memory(test.memory), setting("READY_TIMEOUT", "30s"))
			pod := s.pods()[0]
			s.unharmed(what, func() {
				s.greet("Hello, version 2")
				s.change()
				s.says(1, test.says...)
				if test.served {
					s.serves("Hello, version 2")
				} else {
					s.serves("Hello, version 1")
				}
			})
			s.told(what)
			if n := killed(s, pod); n > 0 || s.restarts() > 0 {
				t.Errorf("the kernel has killed %d processes, and containers were started again %d times", n, s.restarts())
			}
		})
	}
}

// TestTheKernelKillsForWantOfMemory is what MEMORY=warn lets happen: a change for which
// the kernel kills. It is told as that, at once, and the pod serves on.
func TestTheKernelKillsForWantOfMemory(t *testing.T) {
	t.Parallel()
	one := takesOne(t)
	for _, percent := range []int64{115, 150} {
		what := fmt.Sprintf("MEMORY=warn, %d %%", percent)
		t.Run(what, func(t *testing.T) {
			s := newSiteOf(t, heavy, noJitter, replicas(1), modest, limit(one*percent/100), memory("warn"))
			pod := s.pods()[0]
			var unready atomic.Int64
			s.under(what, func() {
				defer watched(pod, &unready)()
				s.greet("Hello, version 2")
				s.change()
				s.until("two ends of a handoff", func() error { return ends(s, pod, 2) }) // the second by itself
			})
			s.told(what)
			log, err := s.log(pod.Name)
			if err != nil {
				t.Fatal(err)
			}
			for _, line := range lines(log, `msg="rolled back"`) {
				if !strings.Contains(line, "out of memory") || strings.Contains(line, "READY_TIMEOUT") {
					t.Errorf("does not tell of memory, or has waited: %s", line)
				}
			}
			t.Logf("clients saw, %s: %d times, of ten a second, that no worker was ready", what, unready.Load())
			if s.restarts() > 0 {
				t.Errorf("containers were started again %d times", s.restarts())
			}
			if killed(s, pod) == 0 {
				t.Error("the kernel has killed nobody: then what is this test good for?")
			}
		})
	}
}

// TestAContainerThatIsKilledComesBack has one of three containers end for want of memory:
// by its master, and all of its processes at once, as the kernel ends them with
// memory.oom.group. The others serve, and it comes back by itself.
func TestAContainerThatIsKilledComesBack(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		what string
		do   func(*site, corev1.Pod)
	}{
		{"a master killed for want of memory", func(s *site, pod corev1.Pod) {
			file := volume(pod, "empty-dir/tmp/eat")
			if err := errors.Join(os.WriteFile(file, nil, 0o666), os.Chown(file, 65534, 65534)); err != nil { // who removes it
				s.t.Fatal(err)
			}
		}},
		{"all processes of a container killed", killAll},
	} {
		t.Run(test.what, func(t *testing.T) {
			s := newSiteOf(t, eats, modest)
			pod := s.pods()[0]
			var back time.Duration
			s.under(test.what, func() {
				began := time.Now()
				test.do(s, pod)
				s.until("a second container", func() error {
					if s.restarts() == 0 {
						return errors.New("there is none so far")
					}
					return nil
				})
				s.count(3)
				back = time.Since(began).Round(10 * time.Millisecond)
			})
			ended := s.pod(pod.Name).Status.ContainerStatuses[0].LastTerminationState.Terminated
			t.Logf("clients saw, %s: ready again after %s; the container's end is %s, with code %d", test.what, back, ended.Reason, ended.ExitCode)
			if ended.ExitCode != 128+int32(unix.SIGKILL) {
				t.Errorf("code %d", ended.ExitCode)
			}
			s.serves("Hello, version 1")
			if n := s.restarts(); n != 1 {
				t.Errorf("containers were started again %d times", n)
			}
		})
	}
}

// ends says whether so many handoffs have ended in a pod, or one of them well.
func ends(s *site, pod corev1.Pod, n int) error {
	log, err := s.log(pod.Name)
	if rolled := len(lines(log, `msg="rolled back"`)); err == nil && rolled < n && len(lines(log, `msg="handed off"`)) == 0 {
		err = fmt.Errorf("%d were rolled back", rolled)
	}
	return err
}

// memory is what STABLEHAND_MEMORY is to say.
func memory(word string) edit {
	return edit{deployment, "          value: wait", "          value: " + word}
}

// limit is how much memory a container may take.
func limit(bytes int64) edit {
	return edit{deployment, "            memory: 192Mi\n          limits:\n            memory: 192Mi\n",
		fmt.Sprintf("            memory: 64Mi\n          limits:\n            memory: %d\n", bytes)}
}

// takesOne is how much memory a pod takes in which one generation of heavy serves, without
// what the kernel would take back.
func takesOne(t *testing.T) int64 {
	t.Helper()
	s := newSiteOf(t, heavy, replicas(1), modest, limit(1<<30))
	s.unharmed("memory enough", func() {})
	dir := group(s, s.pods()[0])
	takes := number(t, dir, "memory.usage_in_bytes", "") - number(t, dir, "memory.stat", "total_inactive_file ")
	t.Logf("clients saw one generation take %d MiB", takes>>20)
	return takes
}

// group is the control group of a pod's container, of version 1's controller of memory.
func group(s *site, pod corev1.Pod) string {
	s.t.Helper()
	id := strings.TrimPrefix(s.pod(pod.Name).Status.ContainerStatuses[0].ContainerID, "containerd://")
	found, _ := filepath.Glob("/sys/fs/cgroup/memory/kubepods/*/pod" + string(pod.UID) + "/" + id)
	if len(found) != 1 {
		s.t.Fatalf("%s has the control groups %q", pod.Name, found)
	}
	return found[0]
}

// number is what a file of a control group has after what begins a line.
func number(t *testing.T, dir, file, begins string) int64 {
	t.Helper()
	n, err := readNumber(dir, file, begins)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func readNumber(dir, file, begins string) (int64, error) {
	text, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if rest, is := strings.CutPrefix(line, begins); is {
			return strconv.ParseInt(strings.TrimSpace(rest), 10, 64)
		}
	}
	return 0, fmt.Errorf("%s of %s has no %q: %s", file, dir, begins, text)
}

// killed is how many processes of a pod the kernel has killed for want of memory.
func killed(s *site, pod corev1.Pod) int64 {
	s.t.Helper()
	return number(s.t, group(s, pod), "memory.oom_control", "oom_kill ")
}

// killAll kills all processes of a container.
func killAll(s *site, pod corev1.Pod) {
	s.t.Helper()
	text, err := os.ReadFile(filepath.Join(group(s, pod), "cgroup.procs"))
	if err != nil {
		s.t.Fatal(err)
	}
	for _, word := range strings.Fields(string(text)) {
		if pid, err := strconv.Atoi(word); err == nil && pid > 1 {
			_ = unix.Kill(pid, unix.SIGKILL) // it may have ended with the one before
		}
	}
}

// watched asks a pod again and again whether it serves, until what it returns is called.
func watched(pod corev1.Pod, unready *atomic.Int64) (stop func()) {
	over, ended := make(chan struct{}), make(chan struct{})
	client := http.Client{Timeout: 5 * time.Second}
	go func() {
		defer close(ended)
		for {
			select {
			case <-over:
				return
			case <-time.After(100 * time.Millisecond):
			}
			response, err := client.Get("http://" + pod.Status.PodIP + ":9090/readyz")
			if err == nil {
				response.Body.Close()
			}
			if err != nil || response.StatusCode != http.StatusOK {
				unready.Add(1)
			}
		}
	}()
	return func() { close(over); <-ended }
}

// told logs what each pod says of a handoff's end, and what its status is, which is never
// that it does not serve.
func (s *site) told(what string) {
	s.t.Helper()
	for _, pod := range s.pods() {
		log, err := s.log(pod.Name)
		status := s.kubectl("exec", pod.Name, "--", "stablehand", "status")
		s.t.Logf("clients saw, %s: killed %d\n%s%s%v", what, killed(s, pod), strings.Join(lines(log, "msg=", "serving="), ""), status, err)
		if strings.Contains(status, "NOT SERVING") {
			s.t.Error("it is said not to serve")
		}
	}
}
