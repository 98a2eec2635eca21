package main_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// A reload on a terminal shows how it goes on one line that changes, and
// Ctrl-C ends it; the status is refreshed in its place.
func TestOperatorOnTerminal(t *testing.T) {
	t.Parallel()
	needNamespace(t, asInit)
	control := serveForTest(t)
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	ask := func(words ...string) *terminal {
		return onTerminal(t, append([]string{"env", "TERM=xterm", "STABLEHAND_CONTROL=" + control, bin}, words...)...)
	}

	reload := ask("reload")
	for _, text := range []string{
		"\rgeneration 2: workers ready 0 of 2  ",
		"\rgeneration 2: workers ready 2 of 2  ",
		"\rgeneration 2: successor being promoted  ",
		"\rdone in ",
		", generation 2 serves: spawn 0.",
	} {
		reload.see(text)
	}
	reload.cmd.Wait()
	screen := reload.shown()
	if reload.cmd.ProcessState.ExitCode() != 0 || strings.Count(screen, "\n") != 1 {
		t.Errorf("%v, want exit code 0 after one line\n%q", reload.cmd.ProcessState, screen)
	}
	times := map[string]bool{} // that were shown while nothing happened but loading
	for _, time := range regexp.MustCompile(`workers ready 0 of 2  (\S+),`).FindAllString(screen, -1) {
		times[time] = true
	}
	if len(times) < 3 {
		t.Errorf("the time did not move on\n%q", screen)
	}

	reload = ask("reload")
	reload.see("workers ready 0 of 2")
	status := ask("status", "--watch")
	reload.enter(ctrlC)
	reload.see("interrupted; the handoff goes on (")
	reload.cmd.Wait()
	if reload.cmd.ProcessState.ExitCode() != 130 {
		t.Errorf("%v, want exit code 130\n%q", reload.cmd.ProcessState, reload.shown())
	}

	status.see("coming up")
	status.see("\x1b[H")
	status.see("last handoff  generation 2 to 3, reason: reload")
	status.enter(ctrlC)
	status.cmd.Wait()
	if status.cmd.ProcessState.ExitCode() != 0 {
		t.Errorf("%v, want exit code 0\n%q", status.cmd.ProcessState, status.shown())
	}
}

// shown is what the terminal has been sent.
func (term *terminal) shown() string {
	term.mu.Lock()
	defer term.mu.Unlock()
	return term.screen.String()
}

// serveForTest starts a stablehand with an application that takes a second
// to load, and returns where its control socket is, once it serves.
func serveForTest(t testing.TB) string {
	t.Helper()
	path := python(t, newest) + ":" + os.Getenv("PATH")
	dir, err := os.MkdirTemp(tempDir, "terminal-")
	if err != nil {
		t.Fatal(err)
	}
	if err := provideApp(filepath.Join(dir, "app.py")); err != nil {
		t.Fatal(err)
	}
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	words := []string{bin, "gunicorn", "--bind=unix:socket", "--workers=2", "app:wsgi"}
	p := &program{name: defaultName, words: words, mode: asInit, log: filepath.Join(dir, "log")}
	control := filepath.Join(dir, "control")
	env := append(os.Environ(), "PATH="+path, "HOME="+dir, "LOAD_SECONDS=1", "STABLEHAND_CONTROL="+control)
	if err := p.start(dir, env); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.end(); err != nil {
			t.Error(err)
		}
	})
	for over := time.Now().Add(patience); !strings.Contains(p.logged(), "msg=serving"); time.Sleep(look) {
		if p.hasEnded() || time.Now().After(over) {
			t.Fatalf("it does not serve:\n%s", p.logged())
		}
	}
	return control
}
