package main_test

import (
	"context"
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// nobody is a user who owns nothing.
const nobody = 65534

// asUserTests are what an ordinary user runs, too: the scripts for which it matters who
// runs them. For such a user every namespace comes from a user namespace, and nothing is
// readable but what everybody may read.
func asUserTests() string {
	scripts := strings.ReplaceAll(strings.Join(privileged, "|"), "*", ".*")
	return "^TestScript$/^init$/^(" + scripts + ")$|^TestHandoff$/^gunicorn-27.0.1$/^sync$/^change$"
}

// TestAsOrdinaryUser runs them once more, without root's privileges.
func TestAsOrdinaryUser(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("these are an ordinary user's tests already")
	}
	if testing.Short() {
		t.Skip("left out of a short run")
	}
	t.Parallel()
	bin := python(t, newest)
	needOtherUser(t, bin)
	stablehand, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	home := filepath.Join(tempDir, "nobody")
	test := filepath.Join(home, "test")
	here := filepath.Join(home, "cmd/stablehand") // from where the documents are where they are from here
	if err := errors.Join(
		os.MkdirAll(here, 0o755),
		os.CopyFS(filepath.Join(here, "testdata"), os.DirFS("testdata")),
		os.CopyFS(filepath.Join(home, "docs"), os.DirFS("../../docs")),
	); err != nil {
		t.Fatal(err)
	}
	copyProgram(t, test)
	if err := errors.Join(os.Chown(home, nobody, nobody), os.Chown(here, nobody, nobody)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	defer cancel()
	run := exec.CommandContext(ctx, test, "-test.run="+asUserTests(), "-test.v", "-test.timeout=19m",
		"-test.parallel="+flag.Lookup("test.parallel").Value.String())
	run.Dir = here
	run.Env = append(os.Environ(), "HOME="+home, "TMPDIR="+home,
		envBinary+"="+stablehand, envPython+"="+filepath.Dir(filepath.Dir(bin)))
	run.SysProcAttr = &syscall.SysProcAttr{
		Credential: &syscall.Credential{Uid: nobody, Gid: nobody},
		Pdeathsig:  syscall.SIGKILL,
	}
	out, err := run.CombinedOutput()
	report(t, string(out), err)
}

// report makes one result of another test run's output.
func report(t *testing.T, out string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	passed := strings.Count(out, "--- PASS: ")
	skipped := regexp.MustCompile(`(?m)^\s+\w+_test\.go:\d+: (.*)\n\s*--- SKIP`).FindStringSubmatch(out)
	if strings.Contains(out, "--- SKIP") && skipped != nil {
		t.Skip(skipped[1])
	}
	if passed < 10 {
		t.Fatalf("only %d tests ran:\n%s", passed, out)
	}
	t.Logf("%d tests passed as uid %d", passed, nobody)
}

// copyProgram copies this test's own program to where everybody may run it.
func copyProgram(t *testing.T, to string) {
	t.Helper()
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, self, 0o755); err != nil {
		t.Fatal(err)
	}
}
