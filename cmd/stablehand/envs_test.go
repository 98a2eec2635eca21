package main_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const (
	oldest = "gunicorn-20.1.0"
	newest = "gunicorn-27.0.1"
)

// python returns the bin directory of a virtual environment that `make envs`
// built. The test is skipped where it is not there, or does not exist for this
// machine's Python.
func python(t testing.TB, env string) string {
	t.Helper()
	dir, missing, err := environmentDir(env)
	if err != nil {
		t.Fatal(err)
	}
	if missing != "" {
		t.Skip(missing)
	}
	return filepath.Join(dir, "bin")
}

// environmentDir is the directory of a virtual environment, or why it is missing.
func environmentDir(env string) (dir, missing string, err error) {
	root := os.Getenv(envPython)
	if root == "" {
		root = filepath.Join("..", "..", ".cache", "py")
	}
	dir, err = filepath.Abs(filepath.Join(root, env))
	if err != nil {
		return "", "", err
	}
	if _, err := os.Stat(filepath.Join(dir, "complete")); err != nil {
		return "", dir + " is missing: make envs builds it", nil
	}
	if why, err := os.ReadFile(filepath.Join(dir, "skipped")); err == nil {
		return "", string(bytes.TrimSpace(why)), nil
	}
	return dir, "", nil
}

// condition adds to testscript's own conditions [environment:NAME], whether
// $PYTHONS has a virtual environment of that name, [other-user], whether
// gunicorn can be run as another user, and those of hostileCondition.
func condition(cond string) (bool, error) {
	if has, known := hostileCondition(cond); known {
		return has, nil
	}
	if cond == "other-user" {
		dir, missing, err := environmentDir(newest)
		return missing == "" && err == nil && otherUser(filepath.Join(dir, "bin")) == nil, err
	}
	env, ok := strings.CutPrefix(cond, "environment:")
	if !ok {
		return false, fmt.Errorf("unknown condition %q", cond)
	}
	_, missing, err := environmentDir(env)
	return missing == "", err
}

// needModule skips the test where an environment's Python lacks a module.
func needModule(t testing.TB, bin, module string) {
	t.Helper()
	if err := exec.Command(filepath.Join(bin, "python"), "-c", "import "+module).Run(); err != nil {
		t.Skipf("%s has no module %s", filepath.Dir(bin), module)
	}
}

// needOtherUser skips the test where gunicorn cannot be run as another user.
func needOtherUser(t testing.TB, bin string) {
	t.Helper()
	if err := otherUser(bin); err != nil {
		t.Skip(err)
	}
}

// otherUser says why gunicorn cannot be run as another user, or drop its
// privileges: only root can do that, and the other user must be able to read
// its Python.
func otherUser(bin string) error {
	if os.Getuid() != 0 {
		return errors.New("only root can run gunicorn as another user")
	}
	// It is env that runs without the capabilities that setpriv still has.
	try := exec.Command("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "env",
		filepath.Join(bin, "python"), "-c", "import gunicorn.workers.sync")
	if out, err := try.CombinedOutput(); err != nil {
		return fmt.Errorf("another user may not run %s: %w: %s", bin, err, bytes.TrimSpace(out))
	}
	return nil
}
