package gunicorn

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// dirtyApp takes a dirty worker so long to load, and returns gunicorn's words for it.
func dirtyApp(t *testing.T, load, hook string) []string {
	t.Helper()
	dir, err := os.MkdirTemp("", "") // for sockets, whose paths may not be long
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	t.Setenv("TMPDIR", dir) // the arbiter ends one that another test has left
	for name, text := range map[string]string{
		"dirty.py": "import os, time\nfrom gunicorn.dirty.app import DirtyApp\nclass Job(DirtyApp):\n    def init(self):\n        time.sleep(" + load + ")\n",
		"hooks.py": "import os, time\n" + hook,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return []string{"--workers=1", "--pythonpath=" + dir, "--config=" + filepath.Join(dir, "hooks.py"),
		"--dirty-app=dirty:Job", "--dirty-workers=2"}
}

func TestReadyWaitsForDirtyWorkers(t *testing.T) {
	for _, version := range []string{"25.3.0", "26.1.0", "27.0.1"} {
		t.Run(version, func(t *testing.T) {
			m, _ := serve(t, version, dirtyApp(t, "2", "")...)
			if w := m.Workers(); w.All != 1 || w.Dirty != 2 || w.DirtyReady != 2 {
				t.Errorf("ready with %+v, want 1 and 2 dirty ones", w)
			}
		})
	}
}

// It is not known from its handlers before on_dirty_starting has returned.
func TestReadyWaitsForADirtyArbiterThatIsAboutToBecomeOne(t *testing.T) {
	m, _ := serve(t, "27.0.1", dirtyApp(t, "0", "def on_dirty_starting(arbiter):\n    time.sleep(1.5)\n")...)
	if w := m.Workers(); w.DirtyReady != 2 {
		t.Errorf("ready with %+v, want 2 dirty ones", w)
	}
}

// The arbiter starts others for ever.
func TestADirtyWorkerThatEndsAsItLoadsIsLost(t *testing.T) {
	words := dirtyApp(t, "1/len([n for n in os.listdir(os.environ['TMPDIR']) if n == 'dirty.py'])", "")
	m, _ := serve(t, "27.0.1", words...)
	if w := m.Workers(); w.Lost != 0 || w.DirtyReady != 2 {
		t.Errorf("%+v, and all have loaded", w)
	}
	if err := os.Remove(filepath.Join(os.Getenv("TMPDIR"), "dirty.py")); err != nil { // from now on they fail
		t.Fatal(err)
	}
	for _, pid := range children(t, m.dirty.arbiter) {
		unix.Kill(pid, unix.SIGKILL)
	}
	until(t, m, "they end as they load", func(w Workers) bool { return w.Lost > 1 })
	if w := m.Workers(); !strings.Contains(w.Exits, "dirty workers that ended as they loaded: ") || m.dirty.over() {
		t.Errorf("%+v, ready: %v", w, m.dirty.over())
	}
}

// The arbiter that takes another's place holds the files of the workers, too.
func TestADirtyArbiterThatWasReplacedIsWaitedFor(t *testing.T) {
	m, _ := serve(t, "27.0.1", dirtyApp(t, "1", "")...)
	arbiter := func() int {
		m.dirty.mu.Lock()
		defer m.dirty.mu.Unlock()
		return m.dirty.arbiter
	}
	first := arbiter()
	unix.Kill(m.PID(), unix.SIGSTOP) // it would start another one at once
	unix.Kill(first, unix.SIGKILL)
	until(t, m, "it has gone", func(w Workers) bool { return w.Dirty == 0 })
	if m.dirty.over() {
		t.Error("nothing is to be waited for, and there is no dirty arbiter")
	}
	unix.Kill(m.PID(), unix.SIGCONT)
	until(t, m, "there is another", func(Workers) bool { return arbiter() != 0 })
	again := &Master{Process: m.Process, reaper: m.reaper}
	if err := again.Ready(limited(t), 0, func(Workers) {}); err != nil {
		t.Fatal(err)
	}
	if w := again.Workers(); w.Dirty != 2 || w.DirtyReady != 2 || w.All != 1 {
		t.Errorf("ready with %+v, want 1 and 2 dirty ones", w)
	}
}

// One whose applications want no worker has none for ever.
func TestADirtyArbiterWithoutWorkersIsNotWaitedForForLong(t *testing.T) {
	words := dirtyApp(t, "0", "")
	dir := os.Getenv("TMPDIR")
	text := "from gunicorn.dirty.app import DirtyApp\nclass Job(DirtyApp):\n    workers = 0\n"
	if err := os.WriteFile(filepath.Join(dir, "dirty.py"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	m, _ := serve(t, "27.0.1", words...)
	if w := m.Workers(); w.Dirty != 0 || w.Ready != 1 {
		t.Errorf("ready with %+v after %v", w, time.Since(begun))
	}
}

// What when_ready forks looks like a dirty arbiter to be, for ever.
func TestWhatIsForkedBesideWorkersIsNotWaitedForForLong(t *testing.T) {
	const text = "import os, time\n\ndef when_ready(server):\n    if os.fork() == 0:\n        time.sleep(3600)\n"
	begun := time.Now()
	m, _ := serve(t, "27.0.1", "--workers=2", hooks(t, text))
	if w := m.Workers(); w.Ready != 2 || w.Dirty != 0 {
		t.Errorf("ready with %+v after %v", w, time.Since(begun))
	}
}

// What when_ready forks may have the handlers of a dirty arbiter, and end: gunicorn starts
// no other.
func TestWhatLookedLikeADirtyArbiterAndEndedIsNotWaitedFor(t *testing.T) {
	const text = `import os, signal, time

def when_ready(server):
    if os.fork() == 0:
        signal.signal(signal.SIGUSR2, signal.SIG_DFL)
        time.sleep(1.5)
        os._exit(0)
`
	m, _ := serve(t, "27.0.1", "--workers=2", hooks(t, text))
	if w := m.Workers(); w.Ready != 2 || w.Dirty != 0 {
		t.Errorf("ready with %+v", w)
	}
}
