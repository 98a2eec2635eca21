package main

import (
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
		t.Skip("there is no Flask in .venv: make test gets it")
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
}

func TestATakenAddressIsTold(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	d := demo{address: listener.Addr().String()}
	err = d.main(t.Context(), nil)
	if err == nil || !strings.Contains(err.Error(), "is not free") {
		t.Errorf("the error is %v", err)
	}
}
