package main_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"
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
		"\r\x1b[32mdone in ",
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
	status = ask("status", "--watch")
	status.see("\x1b[32mSERVING\x1b[0m")
	status.enter("x")
	status.see("\x1b[H") // anew, all the same
	status.enter("q")
	status.cmd.Wait()
	if shown := status.shown(); status.cmd.ProcessState.ExitCode() != 0 || strings.HasSuffix(shown, "q") || strings.Contains(shown, "x") {
		t.Errorf("%v, want exit code 0, and no key is shown\n%q", status.cmd.ProcessState, shown)
	}
}

// A terminal is left as it was found, also by who is told to end.
func TestKeysAreReadAndTheTerminalIsLeftAsItWas(t *testing.T) {
	t.Parallel()
	needNamespace(t, asInit)
	control := serveForTest(t)
	for _, end := range []string{"q", ctrlC, "TERM"} {
		term := onTerminal(t, inSomeDirectory(t, []string{"bash", "--norc", "--noprofile", "-i"})...)
		term.see("$ ")
		term.enter("stty -g >before; STABLEHAND_CONTROL=" + control + " TERM=xterm \"$STABLEHAND\" status --watch; echo code $?\n")
		term.see("SERVING")
		if end == "TERM" {
			for _, p := range tree(term.cmd.Process.Pid) {
				if p.comm == "stablehand" {
					syscall.Kill(p.pid, syscall.SIGTERM)
				}
			}
		} else {
			term.enter(end)
		}
		term.see("code " + map[string]string{"q": "0", ctrlC: "0", "TERM": "143"}[end])
		term.enter("test \"$(stty -g)\" = \"$(cat before)\" && echo sa''me\n")
		term.see("same")
		term.enter("exit\n")
		term.cmd.Wait()
	}
}

// Who wants no colours gets none (https://no-color.org); nor does who is no terminal.
func TestNoColorIsKept(t *testing.T) {
	t.Parallel()
	needNamespace(t, asInit)
	control := serveForTest(t)
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		env      string
		coloured bool
	}{
		{"TERM=xterm", true}, {"TERM=xterm NO_COLOR=", true}, {"TERM=xterm NO_COLOR=1", false}, {"TERM=dumb", false},
	} {
		for _, words := range []string{"status", "reload", "env"} {
			line := append([]string{"env"}, strings.Fields(test.env)...)
			term := onTerminal(t, append(line, "STABLEHAND_CONTROL="+control, bin, words)...)
			term.cmd.Wait()
			<-term.over
			if shown := term.shown(); strings.Contains(shown, "\x1b") != test.coloured || !strings.Contains(shown, "\n") {
				t.Errorf("%s stablehand %s: coloured: %t, want %t\n%q", test.env, words, !test.coloured, test.coloured, shown)
			}
		}
	}
	cmd := exec.Command(bin, "status")
	cmd.Env = append(os.Environ(), "TERM=xterm", "STABLEHAND_CONTROL="+control)
	if out, err := cmd.CombinedOutput(); err != nil || strings.Contains(string(out), "\x1b") {
		t.Errorf("%v: %q", err, out)
	}
}

// The variables fit the terminal that they are shown on.
func TestEnvFitsATerminal(t *testing.T) {
	t.Parallel()
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	long := "/srv/" + strings.Repeat("long/", 30) + "a,/srv/b"
	term := onTerminal(t, "sh", "-c", "stty cols 80; exec env TERM=xterm STABLEHAND_WATCH="+long+" STABLEHAND_CONTROL=/none/control "+bin+" env")
	term.cmd.Wait()
	<-term.over
	shown := term.shown()
	for line := range strings.Lines(shown) {
		line = strings.TrimRight(escapes.ReplaceAllString(line, ""), "\r\n")
		if utf8.RuneCountInString(line) > 80 {
			t.Errorf("%d columns: %q", utf8.RuneCountInString(line), line)
		}
	}
	for _, want := range []string{"\x1b[1mSTABLEHAND_WATCH=/srv/long/", "\nSTABLEHAND_DEBOUNCE=250ms\r\n    the content", "\nwatched /srv/b, 0 files\r\n    /srv/b: watched path does not exist"} {
		if !strings.Contains(shown, want) {
			t.Errorf("no %q in\n%s", want, shown)
		}
	}
}

var escapes = regexp.MustCompile(`\x1b\[\d*m`)

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
