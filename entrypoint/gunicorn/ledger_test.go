package gunicorn

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stablehand/stablehand/reaper"
)

// until waits until what is seen of a master's workers is as it should be.
func until(t *testing.T, m *Master, what string, is func(Workers) bool) {
	t.Helper()
	for end := time.Now().Add(deadline); !is(m.Workers()); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: there is %+v", what, m.Workers())
		}
	}
}

func TestLostIsWhoGunicornDidNotMeanToReplace(t *testing.T) {
	for _, version := range []string{"20.1.0", "27.0.1"} {
		t.Run(version, func(t *testing.T) {
			config := filepath.Join(t.TempDir(), "hooks.py")
			hooks := "import subprocess\n" + // not 3 and 4: gunicorn takes them for a worker's
				"def when_ready(server):\n" +
				"    subprocess.Popen(['sh', '-c', 'sleep 0.3; exit 7'])\n" +
				"    subprocess.call(['sh', '-c', 'sleep 0.1; exit 8'])\n"
			if err := os.WriteFile(config, []byte(hooks), 0o644); err != nil {
				t.Fatal(err)
			}
			m, _ := serve(t, version, "--workers=3", "--config="+config)
			if w := m.Workers(); w.Lost != 0 || w.All != 3 {
				t.Errorf("3 workers, and programs that hooks have run: %+v", w)
			}
			m.Signal(unix.SIGTTOU)
			until(t, m, "TTOU", func(w Workers) bool { return w.All == 2 })
			if w := m.Workers(); w.Lost != 0 {
				t.Errorf("after TTOU: %+v", w)
			}
			unix.Kill(children(t, m.PID())[0], unix.SIGKILL)
			until(t, m, "a worker is killed", func(w Workers) bool { return w.Lost == 1 && w.Exits == "killed by SIGKILL" && w.All == 2 })
		})
	}
}

// hooks writes a configuration, and returns the word that names it to gunicorn.
func hooks(t *testing.T, text string) string {
	t.Helper()
	config := filepath.Join(t.TempDir(), "hooks.py")
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return "--config=" + config
}

// Each runs the master's program, as a worker does. Some end with a code by themselves,
// before the workers have come and while they load, and some are killed when all are ready.
func TestWhatAMasterForksBeforeItsWorkersIsNone(t *testing.T) {
	const text = `
import os, time

def begin(lasts):
    if os.fork() == 0:
        time.sleep(lasts)
        os._exit(1)

def on_starting(server):
    begin(0.2)
    begin(3600)
    time.sleep(0.4)

def when_ready(server):
    begin(0.2)
    begin(3600)
`
	for _, version := range []string{"20.1.0", "27.0.1"} {
		t.Run(version, func(t *testing.T) {
			m, _ := serve(t, version, "--workers=2", hooks(t, text))
			if w := m.Workers(); w.Lost != 0 || m.ledger.figures().All != 2 {
				t.Errorf("2 workers, and what was forked before them: %+v, of which the ledger has %d", w, m.ledger.figures().All)
			}
			workers := workersOf(t, m)
			for _, pid := range children(t, m.PID()) {
				if !slices.Contains(workers, pid) {
					unix.Kill(pid, unix.SIGKILL)
				}
			}
			if err := m.Soak(t.Context(), 500*time.Millisecond); err != nil {
				t.Error(err)
			}
			if left := children(t, m.PID()); len(left) != 2 || m.Workers().Lost != 0 {
				t.Errorf("%d children are left of 2 workers: %+v", len(left), m.Workers())
			}
			unix.Kill(workers[0], unix.SIGKILL)
			until(t, m, "a worker is killed", func(w Workers) bool { return w.Lost == 1 && w.Exits == "killed by SIGKILL" && w.All == 2 })
		})
	}
}

// workersOf is those children of a master that hold a worker's file.
func workersOf(t *testing.T, m *Master) []int {
	t.Helper()
	return slices.DeleteFunc(children(t, m.PID()), holdsNone)
}

// Of a master that serves already, as one that is adopted does, nobody has seen what
// was there before its workers.
func TestWhoComesLateTellsWorkersByTheirFiles(t *testing.T) {
	const text = `
import os, time

def when_ready(server):
    if os.fork() == 0:
        time.sleep(3600)
`
	m, _ := serve(t, "27.0.1", "--workers=2", hooks(t, text))
	late := &Master{Process: m.Process, reaper: m.reaper}
	if w := late.Workers(); w.All != 2 || late.ledger.figures().All != 2 {
		t.Errorf("%+v, of which the ledger has %d, want 2", w, late.ledger.figures().All)
	}
}

// It is forked before the workers, and holds files of its own.
func TestADirtyArbiterIsFollowedAsAWorker(t *testing.T) {
	dir := t.TempDir()
	dirty := "from gunicorn.dirty.app import DirtyApp\nclass Job(DirtyApp):\n    pass\n"
	if err := os.WriteFile(filepath.Join(dir, "dirty.py"), []byte(dirty), 0o644); err != nil {
		t.Fatal(err)
	}
	m, _ := serve(t, "27.0.1", "--workers=2", "--pythonpath="+dir, "--dirty-app=dirty:Job", "--dirty-workers=1")
	until(t, m, "it has a worker", func(Workers) bool { return m.ledger.figures().All == 3 })
	arbiter := slices.Min(children(t, m.PID()))
	unix.Kill(arbiter, unix.SIGKILL)
	until(t, m, "it is killed", func(w Workers) bool { return w.Lost == 1 && w.Exits == "killed by SIGKILL" })
}

// ended is how a process ended that ran a script.
func ended(t *testing.T, r *reaper.Reaper, script string) reaper.Status {
	t.Helper()
	return shell(t, r, script).Status()
}

func TestExitsAreALineForALog(t *testing.T) {
	r := newReaper(t)
	one, killed := ended(t, r, "exit 1"), ended(t, r, "kill -9 $$")
	var l ledger
	for _, how := range []reaper.Status{one, killed, one, {}, one} {
		l.end(how)
	}
	const want = "exit code 1 (3 workers), killed by SIGKILL, exit status unknown"
	if w := l.figures(); w.Lost != 5 || w.Exits != want {
		t.Errorf("%d lost: %q, want %q", w.Lost, w.Exits, want)
	}
}

func TestCodeZeroIsALossUntilAWorkerHasEnteredItsLoop(t *testing.T) {
	var l ledger
	zero := ended(t, newReaper(t), "exit 0")
	l.end(zero)
	l.isReady(2)
	l.end(zero)
	if w := l.figures(); w.Lost != 1 {
		t.Errorf("%d lost, want 1", w.Lost)
	}
}

// gunicorn asks by TERM, and that kills who is ending already.
func TestTermIsALossUntilAWorkerHasEnteredItsLoop(t *testing.T) {
	var l ledger
	term := ended(t, newReaper(t), "kill -TERM $$")
	l.end(term)
	l.isReady(2)
	l.end(term)
	if w := l.figures(); w.Lost != 1 || w.Exits != "killed by SIGTERM" || l.soaked(true, 1) != nil {
		t.Errorf("%d lost: %q, in the soak: %q, want 1 before it", w.Lost, w.Exits, l.soaked(true, 1))
	}
}

func TestWhoEndsUnknownInASoakIsLostWhereNobodyTakesTheirPlace(t *testing.T) {
	var l ledger
	l.isReady(2)
	l.end(reaper.Status{})
	if how := l.soaked(false, 0); how != nil {
		t.Errorf("amid the soak: %q", how)
	}
	if how := l.soaked(true, 2); how != nil {
		t.Errorf("two are ready at the end, and were at the beginning: %q", how)
	}
	if how := l.soaked(true, 1).String(); how != "exit status unknown" {
		t.Errorf("one is ready at the end, and two were at the beginning: %q", how)
	}
}

// Before Linux 6.15 nobody knows how a worker has ended.
func TestAsManyAreOutOfMemoryAsTheKernelHasKilled(t *testing.T) {
	r := newReaper(t)
	killed, one := ended(t, r, "kill -9 $$"), ended(t, r, "exit 1")
	counted := int64(0)
	l := ledger{killings: killings{more: func() int64 { defer func() { counted = 0 }(); return counted }}}
	end := func(how reaper.Status, more int64) { counted += more; l.end(how) }
	end(killed, 0)
	end(one, 2) // of which it is none
	end(reaper.Status{}, 0)
	l.isReady(2)
	end(reaper.Status{}, 0) // it may have served max_requests
	end(killed, 0)
	end(killed, 0)
	const want = "killed by SIGKILL (2 workers), exit code 1, exit status unknown, as the kernel killed for want of memory, killed by SIGKILL, out of memory"
	if w := l.figures(); w.Lost != 5 || w.OOMKilled != 2 || w.Exits != want {
		t.Errorf("%d lost, %d out of memory: %q, want %q", w.Lost, w.OOMKilled, w.Exits, want)
	}
	if how := l.soaked(false, 0); how.oomKilled() != 1 || how.total() != 2 {
		t.Errorf("%v in the soak, want two, of which one was out of memory", how)
	}
}

// Whom the kernel has killed was perhaps no worker.
func TestWhoEndsLaterIsNotOutOfMemory(t *testing.T) {
	killed := ended(t, newReaper(t), "kill -9 $$")
	l := ledger{killings: killings{more: func() int64 { return 0 }, left: 1, at: time.Now().Add(-diesIn - time.Second)}}
	l.end(killed)
	if w := l.figures(); w.Lost != 1 || w.OOMKilled != 0 {
		t.Errorf("%+v, want one that was lost, and not for want of memory", w)
	}
}

func TestAnEndSaysWithWhatTheWorkersEnded(t *testing.T) {
	r := newReaper(t)
	one, three, four := ended(t, r, "exit 1"), ended(t, r, "exit 3"), ended(t, r, "exit 4")
	var l ledger
	for _, how := range []reaper.Status{three, ended(t, r, "kill -9 $$"), three, four, ended(t, r, "exit 0")} {
		l.end(how)
	}
	for code, want := range map[int]string{
		1: "exit code 1; its workers ended with exit code 3 (a worker failed to boot) and exit code 4 (the application failed to load)",
		3: "exit code 1; its workers ended with exit code 4 (the application failed to load)",
	} {
		err := &ExitError{Status: one, Workers: l.codes(code)}
		if err.Error() != want || err.ExitCode() != 1 {
			t.Errorf("but for %d: %q, to exit with %d", code, err, err.ExitCode())
		}
	}
}
