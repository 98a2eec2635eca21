package version

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// build builds the program with flags and returns what it says of itself.
func build(t *testing.T, flags ...string) string {
	t.Helper()
	if testing.Short() {
		t.Skip("it builds the program")
	}
	binary := filepath.Join(t.TempDir(), "stablehand")
	cmd := exec.Command("go", append(append([]string{"build", "-o", binary}, flags...), "../../cmd/stablehand")...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, out)
	}
	said, err := exec.Command(binary, "version").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(said))
}

var system = runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH

func TestItSaysWhatTheLinkerWasTold(t *testing.T) {
	const of = "github.com/stablehand/stablehand/internal/version."
	got := build(t, "-buildvcs=false", "-ldflags=-X "+of+"version=v1.2.3 -X "+of+"commit=c0ffee-dirty -X "+of+"date=2026-01-02T03:04:05Z")
	if want := "stablehand v1.2.3 (commit c0ffee-dirty, 2026-01-02T03:04:05Z, " + system + ")"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestWithoutGitItSaysSo(t *testing.T) {
	got := build(t, "-buildvcs=false")
	if want := "stablehand devel (commit unknown: built without git, date unknown, " + system + ")"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestWithGitItSaysTheCommit(t *testing.T) {
	commit, err := exec.Command("git", "rev-parse", "HEAD").Output()
	if os.IsNotExist(err) || err != nil {
		t.Skip("this is no checkout, or git is missing")
	}
	got := build(t, "-buildvcs=true")
	if want := "(commit " + strings.TrimSpace(string(commit)); !strings.Contains(got, want) {
		t.Errorf("got %s, want %s in it", got, want)
	}
}
