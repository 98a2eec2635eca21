package gunicorn

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stablehand/stablehand/internal/proc"
)

// askingApp answers with what a dirty worker says, which takes that as many seconds as
// the path tells, and returns gunicorn's words for it.
func askingApp(t *testing.T, workers int) []string {
	t.Helper()
	asInit(t)
	words := dirtyApp(t, "0", "")
	dir := os.Getenv("TMPDIR")
	for name, text := range map[string]string{
		"dirty.py": `import os, time
from gunicorn.dirty.app import DirtyApp
class Job(DirtyApp):
    def rest(self, seconds):
        open(os.environ["TMPDIR"] + "/began-%d" % time.monotonic_ns(), "w").close()
        time.sleep(seconds)
        return "rested"
`,
		"app.py": `from gunicorn.dirty import get_dirty_client
def app(environ, start_response):
    body = get_dirty_client().execute("dirty:Job", "rest", float(environ["PATH_INFO"][1:])).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return append(words[1:], "--workers="+strconv.Itoa(workers))
}

// asInit has masters be taken to end with us, as they do where we are PID 1.
func asInit(t *testing.T) {
	t.Helper()
	outliveUs = false
	t.Cleanup(func() { outliveUs = true })
}

// ask has as many clients ask as there are workers, and returns when the dirty workers
// are busy with that; answers waits for what they get.
func ask(t *testing.T, socket, path string, clients int) (answers func() []string) {
	t.Helper()
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}
	client := http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}
	got := make([]string, clients)
	var wg sync.WaitGroup
	for n := range clients {
		wg.Go(func() {
			response, err := client.Get("http://a" + path)
			if err != nil {
				got[n] = err.Error()
				return
			}
			defer response.Body.Close()
			body, _ := io.ReadAll(response.Body)
			got[n] = response.Status + " " + string(body)
		})
	}
	begun := func() int {
		list, _ := filepath.Glob(os.Getenv("TMPDIR") + "/began-*")
		return len(list)
	}
	for end := time.Now().Add(deadline); begun() < clients; time.Sleep(lookEvery) {
		if time.Now().After(end) {
			t.Fatalf("%d of %d dirty workers are busy", begun(), clients)
		}
	}
	return func() []string { wg.Wait(); return got }
}

// gunicorn ends dirty workers at once, under what they are asked.
func TestWhatDirtyWorkersWereAskedIsAnsweredBeforeTheyEnd(t *testing.T) {
	for _, version := range []string{"25.3.0", "26.1.0", "27.0.1"} {
		t.Run(version, func(t *testing.T) {
			m, socket := serve(t, version, askingApp(t, 2)...)
			all, err := m.Processes()
			if err != nil {
				t.Fatal(err)
			}
			answers := ask(t, socket, "/2", 2)
			begun := time.Now()
			if err := m.Finish(limited(t)); err != nil {
				t.Error(err)
			}
			for _, answer := range answers() {
				if answer != "200 OK rested" {
					t.Errorf("a client got %q", answer)
				}
			}
			<-m.Done()
			t.Logf("ended after %v: %v", time.Since(begun), m.Status())
			later, _ := m.Processes()
			for _, info := range later {
				t.Errorf("process %d is left; before there were %v", info.PID, all)
			}
			if code := m.Status().ExitCode(); code != 0 {
				t.Errorf("its code is %d", code)
			}
		})
	}
}

// Whoever stops the container does not wait for who finishes.
func TestAMasterThatIsHaltedHearsASignalByWhichItEnds(t *testing.T) {
	for _, sig := range []unix.Signal{unix.SIGTERM, unix.SIGINT} {
		t.Run(unix.SignalName(sig), func(t *testing.T) {
			m, socket := serve(t, "27.0.1", append(askingApp(t, 1), "--graceful-timeout=1")...)
			ask(t, socket, "/50", 1)
			finished := make(chan error, 1)
			go func() { finished <- m.Finish(limited(t)) }()
			awaitState(t, m.PID(), 'T')
			begun := time.Now()
			if err := m.Signal(sig); err != nil {
				t.Error(err)
			}
			<-finished
			<-m.Done()
			if took := time.Since(begun); took > finishWithin/2 {
				t.Errorf("it has ended %v after %s", took, unix.SignalName(sig))
			}
		})
	}
}

// Somebody may have us go on after a stop.
func TestAMasterThatIsHaltedDoesNotGoOnForSIGCONT(t *testing.T) {
	m, socket := serve(t, "27.0.1", askingApp(t, 1)...)
	answers := ask(t, socket, "/3", 1)
	finished := make(chan error, 1)
	go func() { finished <- m.Finish(limited(t)) }()
	awaitState(t, m.PID(), 'T')
	if err := m.Signal(unix.SIGCONT); err != nil {
		t.Error(err)
	}
	if info, err := proc.Stat(m.PID()); err != nil || info.State != 'T' {
		t.Errorf("it goes on: it is in state %c, %v", info.State, err)
	}
	if got := answers()[0]; got != "200 OK rested" {
		t.Errorf("a client got %q", got)
	}
	<-finished
	<-m.Done()
}

// Where somebody else has it go on, it starts others, which are not waited for.
func TestAMasterThatSomebodyElseHasGoOnIsNotWaitedFor(t *testing.T) {
	m, socket := serve(t, "27.0.1", append(askingApp(t, 1), "--graceful-timeout=1")...)
	ask(t, socket, "/50", 1)
	if _, halted := m.halt(); !halted {
		t.Fatal("it is not halted")
	}
	awaitState(t, m.PID(), 'T')
	p := parting{master: m, begun: time.Now(), told: make(map[int]bool)}
	if !p.goesOn() {
		t.Error("its worker is busy, and not waited for")
	}
	unix.Kill(m.PID(), unix.SIGCONT)
	awaitState(t, m.PID(), 'S')
	if p.goesOn() {
		t.Error("its workers are waited for")
	}
}

// Python sees to what is left of a worker when that has closed its files, and takes no
// TERM then.
func TestAWorkerThatFinishesComesToItsOwnEnd(t *testing.T) {
	words := askingApp(t, 2)
	dir := os.Getenv("TMPDIR")
	const slowEnd = `
import os, time
class Last:
    def __del__(self, open=open, sleep=time.sleep, pid=os.getpid):
        sleep(0.3)
        open("` + "%s" + `/ended-%%d" %% pid(), "w").close()
`
	app := filepath.Join(dir, "app.py")
	text, err := os.ReadFile(app)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(app, fmt.Appendf(text, slowEnd+"last = Last()\n", dir), 0o644); err != nil {
		t.Fatal(err)
	}
	m, _ := serve(t, "27.0.1", words...)
	if err := m.Finish(limited(t)); err != nil {
		t.Error(err)
	}
	<-m.Done()
	if ended, _ := filepath.Glob(dir + "/ended-*"); len(ended) != 2 {
		t.Errorf("%d of 2 workers came to their own end", len(ended))
	}
}

// What is rolled back ends by itself, too: it has hooks, and files to remove.
func TestAGenerationThatIsGivenUpHasTimeForItsOwnEnd(t *testing.T) {
	m, socket := serve(t, "27.0.1", append(askingApp(t, 1), "--graceful-timeout=1")...)
	ask(t, socket, "/50", 1)
	if err := m.End(limited(t), 20*time.Second); err != nil {
		t.Error(err)
	}
	if code := m.Status().ExitCode(); code != 0 {
		t.Errorf("it has ended with %v", m.Status())
	}
}

func TestAMasterThatWasToldToEndIsNotHalted(t *testing.T) {
	m, _ := serve(t, "27.0.1", "--workers=1")
	if err := m.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if _, halted := m.halt(); halted {
		t.Error("it is halted, and does not end")
	}
	<-m.Done()
}

// A request that goes on for longer than it may is given up, as by gunicorn.
func TestAMasterGoesOnWhereItsWorkersAreGivenUp(t *testing.T) {
	m, socket := serve(t, "27.0.1", append(askingApp(t, 1), "--graceful-timeout=1")...)
	answers := ask(t, socket, "/50", 1)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := m.Finish(ctx); err != nil {
		t.Error(err)
	}
	<-m.Done()
	if got := answers()[0]; strings.HasPrefix(got, "200") {
		t.Errorf("%q after a second, of 50", got)
	}
}

// A worker that has only its master's handlers would forget a TERM.
func TestAWorkerIsToldWhenItHasItsOwnHandlers(t *testing.T) {
	const hook = `def post_fork(server, worker):
    if os.path.exists(os.environ["TMPDIR"] + "/slowly"):
        open(os.environ["TMPDIR"] + "/forked", "w").close()
        time.sleep(0.5)
`
	words := askingApp(t, 1)
	dir := os.Getenv("TMPDIR")
	if err := os.WriteFile(filepath.Join(dir, "hooks.py"), []byte("import os, time\n"+hook), 0o644); err != nil {
		t.Fatal(err)
	}
	m, _ := serve(t, "27.0.1", words...)
	if err := os.WriteFile(filepath.Join(dir, "slowly"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := m.Signal(unix.SIGTTIN); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(deadline); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if _, err := os.Stat(filepath.Join(dir, "forked")); err == nil {
			break
		}
	}
	begun := time.Now()
	if err := m.Finish(limited(t)); err != nil {
		t.Error(err)
	}
	<-m.Done()
	if took := time.Since(begun); took > finishWithin/2 {
		t.Errorf("it has ended after %v: a worker has not heard that it is to", took)
	}
}

// The successor is a child of the master, and has heartbeats, too.
func TestOnlyWorkersOfItsOwnAreToldToFinish(t *testing.T) {
	m, _ := serve(t, "27.0.1", askingApp(t, 1)...)
	next, _, err := m.Spawn(limited(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := next.Ready(limited(t), 1, func(Workers) {}); err != nil {
		t.Fatal(err)
	}
	for _, forget := range []bool{true, false} { // as one that somebody else has asked for
		if forget {
			m.next.Store(nil)
		}
		for _, pid := range children(t, m.PID()) {
			if is := m.serves(pid) && !handles(pid, unix.SIGUSR2); is != (pid != next.PID() && m.kindOf(pid) != arbiter) {
				t.Errorf("process %d is taken for a worker: %v; the successor is %d", pid, is, next.PID())
			}
		}
		m.next.Store(next)
	}
	if err := m.Finish(limited(t)); err != nil {
		t.Error(err)
	}
	<-m.Done()
	if err := next.Promoted(limited(t)); err != nil {
		t.Error(err)
	}
	if w := next.Workers(); next.Dead() || w.Ready != 1 || w.DirtyReady != 2 {
		t.Errorf("the successor has %+v", w)
	}
}

// As su and sudo do: they stop when what they have started does.
func TestWhoStopsWithTheMasterGoesOnWithIt(t *testing.T) {
	r := newReaper(t)
	begun := filepath.Join(t.TempDir(), "begun")
	p := shell(t, r, `exec python3 -c '
import os, signal, sys, time
child = os.fork()
if child == 0:
    open("`+begun+`", "w").close()
    time.sleep(60)
    os._exit(0)
while True:
    pid, status = os.waitpid(child, os.WUNTRACED)
    if not os.WIFSTOPPED(status):
        sys.exit(7)
    os.kill(os.getpid(), signal.SIGSTOP)
'`)
	var child int
	for end := time.Now().Add(deadline); child == 0 && time.Now().Before(end); time.Sleep(lookEvery) {
		if _, err := os.Stat(begun); err == nil {
			child = children(t, p.PID())[0]
		}
	}
	below, err := r.Open(child)
	if err != nil {
		t.Fatal(err)
	}
	m := &Master{Process: below, reaper: r}
	if _, halted := m.halt(); !halted {
		t.Fatal("it is not halted")
	}
	awaitState(t, p.PID(), 'T')
	m.resumeAbove()
	if err := m.Signal(unix.SIGTERM); err != nil {
		t.Error(err)
	}
	select {
	case <-p.Done():
		if code := p.Status().ExitCode(); code != 7 {
			t.Errorf("its code is %d", code)
		}
	case <-time.After(deadline):
		t.Error("what had started it is stopped still")
	}
}

func awaitState(t *testing.T, pid int, state byte) {
	t.Helper()
	for end := time.Now().Add(deadline); ; time.Sleep(time.Millisecond) {
		info, err := proc.Stat(pid)
		if err != nil || time.Now().After(end) {
			t.Fatalf("process %d is not in state %c, but in %c: %v", pid, state, info.State, err)
		}
		if info.State == state {
			return
		}
	}
}
