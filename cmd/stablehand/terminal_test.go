package main_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
)

// terminal is a command on a terminal of its own, at which somebody types.
type terminal struct {
	t    *testing.T
	cmd  *exec.Cmd
	keys *os.File

	mu     sync.Mutex
	screen bytes.Buffer
	read   int // how much of the screen see has consumed
	over   chan struct{}
}

func onTerminal(t *testing.T, words ...string) *terminal {
	t.Helper()
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Env = append(os.Environ(), "STABLEHAND="+bin, "PS1=$ ", "HISTFILE=", "TERM=dumb", "STABLEHAND_LOG_FORMAT=text", "GORACE="+exitOnRace)
	keys, err := pty.Start(cmd) // as the leader of a session of its own
	if err != nil {
		t.Fatal(err)
	}
	term := &terminal{t: t, cmd: cmd, keys: keys, over: make(chan struct{})}
	go term.show()
	t.Cleanup(func() {
		cmd.Process.Kill()
		keys.Close()
		<-term.over
	})
	return term
}

func (term *terminal) show() {
	defer close(term.over)
	buf := make([]byte, 4096)
	for {
		n, err := term.keys.Read(buf)
		term.mu.Lock()
		term.screen.Write(buf[:n])
		term.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// see waits for a text on the screen, after the last one seen.
func (term *terminal) see(text string) {
	term.t.Helper()
	if !term.seen(text, patience) {
		term.t.Fatalf("no %q on the screen after byte %d:\n%s", text, term.read, term.screen.String())
	}
}

func (term *terminal) seen(text string, limit time.Duration) bool {
	for over := time.Now().Add(limit); time.Now().Before(over); time.Sleep(look) {
		term.mu.Lock()
		at := strings.Index(term.screen.String()[term.read:], text)
		if at >= 0 {
			term.read += at + len(text)
		}
		term.mu.Unlock()
		if at >= 0 {
			return true
		}
	}
	return false
}

func (term *terminal) enter(keys string) { term.keys.WriteString(keys) }

// answers types a line until cat, in the foreground, says it again. What is
// typed while a shell hands the terminal over may be lost.
func (term *terminal) answers(line string) {
	term.t.Helper()
	for over := time.Now().Add(patience); time.Now().Before(over); {
		term.enter(line + "\n")
		if term.seen(line+"\r\n"+line, 200*time.Millisecond) {
			return
		}
	}
	term.t.Fatalf("%q is not answered:\n%s", line, term.screen.String())
}

const (
	ctrlC = "\x03"
	ctrlZ = "\x1a"
)

// A shell under stablehand is in the terminal's foreground, as PID 1 and
// elsewhere: it stops and continues its own jobs, and Ctrl-C is its jobs'.
func TestJobControlWorksBelow(t *testing.T) {
	for _, m := range []mode{asInit, notAsInit} {
		t.Run(string(m), func(t *testing.T) {
			line := []string{"sh", "-c", `exec "$STABLEHAND" bash --norc --noprofile -i`}
			if m == asInit {
				needNamespace(t, m)
				line = unshare(m, line...)
			}
			term := onTerminal(t, line...)
			term.see("$ ")
			term.enter("cat\n")
			term.answers("typed") // so that it is cat which Ctrl-Z stops, and not the shell
			term.enter(ctrlZ)
			term.see("Stopped")
			term.enter("fg\n")
			term.see("cat\r\n")
			term.answers("again")
			term.enter(ctrlC)
			term.see("$ ")
			term.enter("exit 7\n")
			if term.cmd.Wait(); term.cmd.ProcessState.ExitCode() != 7 {
				t.Errorf("%v, want exit code 7\n%s", term.cmd.ProcessState, term.screen.String())
			}
		})
	}
}

// Where stablehand is a shell's job, a stop of its command stops it, and both
// continue; Ctrl-C ends the command, by 128+2.
func TestStopsAndContinuesArePassedOn(t *testing.T) {
	term := onTerminal(t, "bash", "--norc", "--noprofile", "-i")
	term.see("$ ")
	term.enter("\"$STABLEHAND\" cat\n")
	term.see("msg=starting")
	term.answers("typed")
	term.enter(ctrlZ)
	term.see("Stopped")
	term.enter("fg\n")
	term.see("cat\r\n")
	term.answers("again")
	term.enter(ctrlZ)
	term.see("Stopped")
	term.enter("fg\n")
	term.answers("more")
	term.enter(ctrlC)
	term.see("msg=stopped")
	term.enter("echo code $?\n")
	term.see("code 130")
	term.enter("exit\n")
	term.cmd.Wait()
}

// On a terminal gunicorn stays in the foreground, where a debugger may read what is
// typed, and Ctrl-C stops both.
func TestGunicornIsInTheForegroundOfATerminal(t *testing.T) {
	bin, dir := python(t, newest), t.TempDir()
	if err := provideApp(filepath.Join(dir, "app.py")); err != nil {
		t.Fatal(err)
	}
	term := onTerminal(t, "sh", "-c",
		`cd "$0" && PATH=$1:$PATH STABLEHAND_CONTROL=$0/control exec "$STABLEHAND" gunicorn --bind=unix:socket app:wsgi`, dir, bin)
	term.see("msg=serving")
	for _, p := range tree(term.cmd.Process.Pid) {
		if group, err := syscall.Getpgid(p.pid); err != nil || group != term.cmd.Process.Pid {
			t.Errorf("%v is in process group %d (%v), want that of stablehand", p, group, err)
		}
	}
	term.enter(ctrlC)
	term.see("msg=stopped code=0")
	if term.cmd.Wait(); term.cmd.ProcessState.ExitCode() != 0 {
		t.Errorf("%v, want exit code 0\n%s", term.cmd.ProcessState, term.screen.String())
	}
}
