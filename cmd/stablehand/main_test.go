// The end-to-end tests run the real binary as PID 1 of a PID namespace of its
// own, with a real gunicorn below it. They are scripts in testdata; the
// commands that the scripts have beside testscript's own are in
// commands_test.go. Nothing here looks into the program: what a script can see
// is what an operator can see, files, signals, processes, answers and the log.
package main_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

const (
	// envInit tells this test binary that it is the PID 1 of a namespace in
	// which stablehand is not.
	envInit = "E2E_INIT"

	// envBinary names a stablehand to test instead of one built here, from the
	// top of the repository.
	envBinary = "E2E_STABLEHAND"

	// envPython names the directory of virtual environments that `make envs`
	// fills. Default: .cache/py at the top of the repository.
	envPython = "E2E_PYTHON"

	// envUpdate has the golden texts in the scripts be what is there now.
	envUpdate = "E2E_UPDATE"

	// exitOnRace is how a binary built with -race ends when it finds one. No
	// script expects this code. Without the last it waits a second at its end.
	exitOnRace = "halt_on_error=1 exitcode=66 atexit_sleep_ms=0"
)

// tempDir holds the binary and the scripts' work directories. Everybody may
// read it: some scripts run gunicorn as another user.
var tempDir string

func TestMain(m *testing.M) {
	if os.Getenv(envInit) != "" {
		runInit(os.Args[1:])
	}
	os.Exit(testMain(m))
}

func testMain(m *testing.M) int {
	var err error
	tempDir, err = os.MkdirTemp("", "stablehand-e2e-")
	if err == nil {
		err = os.Chmod(tempDir, 0o755)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(tempDir)
	return m.Run()
}

// binary is the path of the stablehand under test.
var binary = sync.OnceValues(func() (string, error) {
	if path := os.Getenv(envBinary); path != "" {
		return fromTop(path)
	}
	path := filepath.Join(tempDir, "bin", "stablehand")
	args := []string{"build", "-o", path}
	build := exec.Command("go")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if haveCompiler() {
		args = append(args, "-race")
		build.Env = append(os.Environ(), "CGO_ENABLED=1")
	}
	build.Args = append(build.Args, append(args, ".")...)
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%v: %w\n%s", build.Args, err, out)
	}
	return path, nil
})

// haveCompiler says whether -race can be had: it needs a C compiler.
func haveCompiler() bool {
	cc := os.Getenv("CC")
	if cc == "" {
		cc = "gcc"
	}
	_, err := exec.LookPath(cc)
	return err == nil
}

// fromTop is the absolute form of a path that is relative to the top of the
// repository.
func fromTop(path string) (string, error) {
	if filepath.IsAbs(path) {
		return path, nil
	}
	return filepath.Abs(filepath.Join("..", "..", path))
}
