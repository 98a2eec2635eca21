package main

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// here is the demo, with a stablehand built for the test and a free port.
func here(t *testing.T) demo {
	t.Helper()
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir()) // whatever else runs on this machine
	top, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	d := demo{
		stablehand: filepath.Join(t.TempDir(), "stablehand"),
		bin:        filepath.Join(top, ".venv", "bin"),
		example:    filepath.Join(top, "examples", "flask"),
	}
	if _, err := os.Stat(filepath.Join(d.bin, "flask")); err != nil {
		t.Skip("there is no Flask in .venv: make .venv/complete gets it")
	}
	build := exec.Command("go", "build", "-o", d.stablehand, "./cmd/stablehand")
	build.Dir = top
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", build.Args, err, out)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d.address = listener.Addr().String()
	listener.Close()
	return d
}

func TestAHandoffBeatsHUP(t *testing.T) {
	d := here(t)
	var told bytes.Buffer
	d.out = &told
	handoff, hup, err := d.both(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("handoff: %s", handoff.Result)
	t.Logf("HUP: %s", hup.Result)
	if handoff.Failed > 0 || handoff.Silence > hup.Silence/2 {
		t.Errorf("the handoff is not clearly better:\n%s\n%s", handoff.Result, hup.Result)
	}
	if err := free(d.address); err != nil {
		t.Errorf("something was left: %v", err)
	}
	rest := told.String()
	for _, line := range []string{
		"\n=> copying ", "\n=> starting in ", "\n=> it answers: 8 clients ", "\n=> changing the greeting ", "\n=> stablehand sees the change ",
		"\n=> waiting until a client gets ", "\n=> stopping stablehand", "\n=> copying ", "\n=> starting in ", "\n=> it answers", "\n=> changing",
		"\n=> gunicorn sees no change by itself: kill -HUP ", "\n=> waiting", "\n=> stopping gunicorn",
	} {
		_, after, found := strings.Cut(rest, line)
		if !found {
			t.Fatalf("%q is not told in its place:\n%s", line, told.String())
		}
		rest = after
	}
}

func TestAPortThatCannotBeHadIsTold(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	_, taken, _ := net.SplitHostPort(listener.Addr().String())
	for port, want := range map[string]string{
		taken:   "port " + taken + " is taken: stop what listens at 127.0.0.1:" + taken + ", or take another one: make demo PORT=",
		"":      "PORT= is no port: give a number from 1 to 65535",
		"http":  "PORT=http is no port: ",
		"70000": "PORT=70000 is no port: ",
	} {
		d := demo{address: net.JoinHostPort("127.0.0.1", port)}
		err = d.main(t.Context(), nil)
		if err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("PORT=%s: the error is %v", port, err)
		}
	}
}
