package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// gunicorns are wheels of gunicorn and what it needs, which pip takes from an index once.
func gunicorns(t *testing.T, python string) string {
	t.Helper()
	dir := filepath.Join(top(t), ".cache", "wheels")
	if found, _ := filepath.Glob(filepath.Join(dir, "gunicorn-*.whl")); len(found) == 0 {
		must(t, "", python, "-m", "pip", "download", "--quiet", "--dest", dir, "gunicorn==27.0.1")
	}
	return dir
}

// top is the repository's.
func top(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// venv makes a virtual environment, and returns what runs a program that is in it.
func venv(t *testing.T, python string) (dir string, do func(program string, words ...string) string) {
	t.Helper()
	if _, err := run("", nil, python, "-c", "import venv, ensurepip"); err != nil {
		t.Skipf("%s cannot build virtual environments (Debian: apt-get install python3-venv)", python)
	}
	dir = t.TempDir()
	must(t, "", python, "-m", "venv", dir)
	return dir, func(program string, words ...string) string {
		t.Helper()
		out, err := run(dir, []string{"PATH=" + dir + "/bin:" + os.Getenv("PATH"), "PIP_NO_INDEX=1", "PIP_FIND_LINKS="}, append([]string{dir + "/bin/" + program}, words...)...)
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(out)
	}
}

func TestPipInstallsUpgradesAndUninstalls(t *testing.T) {
	dist := built(t)
	for name, python := range map[string]string{"the python3 on the path": "python3", "Debian's": "/usr/bin/python3"} {
		t.Run(name, func(t *testing.T) {
			if _, err := os.Stat(python); filepath.IsAbs(python) && err != nil {
				t.Skip(err)
			}
			dir, do := venv(t, python)
			requirements := filepath.Join(dir, "requirements.txt")
			if err := os.WriteFile(requirements, []byte("gunicorn\nstablehand\n"), 0o644); err != nil {
				t.Fatal(err)
			}
			install := []string{"install", "--quiet", "--find-links", gunicorns(t, dir+"/bin/python"), "--find-links", dist}
			do("pip", append(install, "--requirement", requirements)...)
			if got, want := do("stablehand", "version"), says(t, version); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
			isTheBinary(t, dist, filepath.Join(dir, "bin", "stablehand"))
			if got := do("stablehand", "gunicorn", "--version"); !strings.Contains(got, "gunicorn (version 27.0.1)") {
				t.Errorf("the gunicorn beside it says %q", got)
			}
			if got := do("pip", "show", "stablehand"); !strings.Contains(got, "Version: 1.0.0\n") {
				t.Errorf("pip shows %s", got)
			}
			do("pip", "check")
			do("pip", append(install, "--upgrade", "--find-links", next(t), "stablehand")...)
			if got, want := do("stablehand", "version"), says(t, "v1.0.1"); got != want {
				t.Errorf("after an upgrade: got  %s\nwant %s", got, want)
			}
			do("pip", "uninstall", "--quiet", "--yes", "stablehand")
			left, err := filepath.Glob(filepath.Join(dir, "*", "stablehand*"))
			inside, _ := filepath.Glob(filepath.Join(dir, "lib*", "python*", "site-packages", "stablehand*"))
			if left = append(left, inside...); err != nil || len(left) > 0 {
				t.Errorf("uninstalling has left %q (%v)", left, err)
			}
		})
	}
}

// isTheBinary compares a file with the binary for this machine.
func isTheBinary(t *testing.T, dist, file string) {
	t.Helper()
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(filepath.Join(dist, filepath.Base(here(t).binary())))
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("%s is not the binary", file)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm()&0o111 != 0o111 {
		t.Errorf("%s has mode %v (%v)", file, info.Mode(), err)
	}
}

// next builds the wheel of the version after, for this machine.
func next(t *testing.T) string {
	t.Helper()
	all, to := targets, t.TempDir()
	targets = []target{here(t)}
	defer func() { targets = all }()
	must(t, "", "git", "clone", "--quiet", made.top, to)
	t.Chdir(to)
	from, err := readSource(version)
	if err != nil {
		t.Fatal(err)
	}
	from.version = "v1.0.1"
	if err := build(from, buildBinaries, writeBOM, buildWheels); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(to, dist)
}

// TestPipTakesEachTag has pip take a wheel for each platform that it is to be for.
func TestPipTakesEachTag(t *testing.T) {
	t.Parallel()
	dist := built(t)
	_, do := venv(t, "python3")
	for _, target := range targets {
		for _, tag := range target.tags() {
			t.Run(tag, func(t *testing.T) {
				into := t.TempDir()
				do("pip", "install", "--quiet", "--find-links", dist, "--only-binary=:all:", "--platform", tag, "--target", into, "stablehand")
				if _, err := os.Stat(filepath.Join(into, "bin", "stablehand")); err != nil {
					t.Error(err)
				}
			})
		}
	}
}
