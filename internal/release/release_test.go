// The tests build a release as make does, from a copy of the repository, and try each
// artifact as its user would: with pip, dpkg, rpm, a registry, Docker and ssh-keygen.
// What this machine lacks for that is skipped, and named.
//
// With RELEASE_TEST_MACHINES=this the release is for this machine alone: it has each kind
// of artifact, and is built soon.
package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stablehand/stablehand/internal/docker"
)

const (
	version = "v1.0.0"

	// envProgram has this test binary be the program.
	envProgram = "RELEASE_TEST_PROGRAM"

	// envMachines says for which machines the release is, and is read by both.
	envMachines = "RELEASE_TEST_MACHINES"
)

// made is the release that the tests try, and the copy that it was built in.
var made struct {
	once sync.Once
	top  string
	err  error
}

func TestMain(m *testing.M) {
	if os.Getenv(envMachines) == "this" {
		here, err := thisMachine()
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		targets = []target{here}
	}
	if os.Getenv(envProgram) != "" {
		main()
		return
	}
	code := docker.Main(m)
	os.RemoveAll(made.top)
	os.Exit(code)
}

// built returns the directory with the artifacts, which are built once.
func built(t *testing.T) string {
	t.Helper()
	made.once.Do(func() {
		if made.top, made.err = os.MkdirTemp("", "release-test-"); made.err == nil {
			made.err = buildCopy(made.top)
		}
	})
	if made.err != nil {
		t.Fatal(made.err)
	}
	return filepath.Join(made.top, dist)
}

// buildCopy copies the repository, as it is, puts the version's heading into the changelog,
// commits that at a fixed time, and builds a release.
func buildCopy(dir string) error {
	top, err := docker.Top()
	if err != nil {
		return err
	}
	files, err := run(top, nil, "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	if err != nil {
		return err
	}
	for name := range strings.SplitSeq(strings.TrimSuffix(files, "\x00"), "\x00") {
		if err := copyFile(filepath.Join(top, name), filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	changes := filepath.Join(dir, "CHANGELOG.md")
	text, err := os.ReadFile(changes)
	if err != nil {
		return err
	}
	heading := "## Unreleased\n\n## " + strings.TrimPrefix(version, "v") + " - 2026-01-02\n"
	if err := os.WriteFile(changes, bytes.Replace(text, []byte("## Unreleased\n"), []byte(heading), 1), 0o644); err != nil {
		return err
	}
	at := "2026-01-02T03:04:05Z"
	env := []string{"GIT_AUTHOR_DATE=" + at, "GIT_COMMITTER_DATE=" + at, "GIT_CONFIG_GLOBAL=/dev/null"}
	for _, words := range [][]string{
		{"git", "init", "--quiet"},
		{"git", "add", "--all"},
		{"git", "-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "--quiet", "--message=a"},
	} {
		if _, err := run(dir, env, words...); err != nil {
			return err
		}
	}
	return releaseIn(dir, version)
}

// releaseIn has the program build a release there.
func releaseIn(dir, version string, env ...string) error {
	_, err := run(dir, append(env, envProgram+"=1"), os.Args[0], version)
	return err
}

func copyFile(from, to string) error {
	info, err := os.Lstat(from)
	if os.IsNotExist(err) {
		return nil // removed, and not committed
	}
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	if info.Mode()&os.ModeSymlink != 0 {
		target, err := os.Readlink(from)
		if err != nil {
			return err
		}
		return os.Symlink(target, to)
	}
	content, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, content, info.Mode().Perm())
}

// run runs a command in a directory and returns what it printed.
func run(dir string, env []string, words ...string) (string, error) {
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w\n%s%s", strings.Join(words, " "), err, out, stderr.Bytes())
	}
	return string(out), nil
}

// must does so for a test.
func must(t *testing.T, dir string, words ...string) string {
	t.Helper()
	out, err := run(dir, nil, words...)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(out)
}

// needs skips a test where a command is missing, and says what has it.
func needs(t *testing.T, command, from string) {
	t.Helper()
	if _, err := exec.LookPath(command); err != nil {
		t.Skipf("%s is missing (Debian: apt-get install %s)", command, from)
	}
}

// only returns the one artifact that a pattern fits.
func only(t *testing.T, dist, pattern string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dist, pattern))
	if err != nil || len(files) != 1 {
		t.Fatalf("%s fits %q, want one file (%v)", pattern, files, err)
	}
	return files[0]
}

// here is the artifact for this machine.
func here(t *testing.T) target {
	t.Helper()
	here, err := thisMachine()
	if err != nil {
		t.Skip(err)
	}
	return here
}

// says is what the release's binaries answer to version on this machine.
func says(t *testing.T, version string) string {
	t.Helper()
	commit := must(t, made.top, "git", "rev-parse", "HEAD")
	return fmt.Sprintf("stablehand %s (commit %s, 2026-01-02T03:04:05Z, %s)", version, commit, must(t, "", "go", "env", "GOVERSION")+" linux/"+here(t).goarch)
}

func TestTheSameCommitGivesTheSameBytes(t *testing.T) {
	t.Parallel()
	dist := built(t)
	again := filepath.Join(t.TempDir(), "elsewhere")
	must(t, "", "git", "clone", "--quiet", made.top, again)
	if err := releaseIn(again, version, "TZ=Asia/Tokyo", "GOFLAGS=-buildvcs=true", "GOAMD64=v3", "LC_ALL=C", "HOSTNAME=other"); err != nil {
		t.Fatal(err)
	}
	first, second := must(t, dist, "cat", "SHA256SUMS"), must(t, again, "cat", "dist/SHA256SUMS")
	if first != second {
		t.Errorf("the first build:\n%s\nthe second:\n%s", first, second)
	}
	must(t, filepath.Join(again, "dist"), "sha256sum", "--check", "--strict", "SHA256SUMS")
}
