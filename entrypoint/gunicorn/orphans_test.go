package gunicorn

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stablehand/stablehand/internal/proc"
)

func TestACommandIsMarkedWhereItIsGunicornItself(t *testing.T) {
	for _, test := range []struct {
		argv []string
		want bool
	}{
		{[]string{"gunicorn", "app:app"}, true},
		{[]string{"/venv/bin/gunicorn"}, true},
		{[]string{"python3", "-m", "gunicorn.app.wsgiapp"}, true},
		{[]string{"sh", "-c", "exec gunicorn"}, false},
		{[]string{"ddtrace-run", "gunicorn"}, false},
	} {
		var want []string
		if test.want {
			want = []string{"SERVER_SOFTWARE=gunicorn"}
		}
		if diff := cmp.Diff(append([]string{"A=b"}, want...), Mark([]string{"A=b"}, test.argv)); diff != "" {
			t.Errorf("%q (-want +got):\n%s", test.argv, diff)
		}
	}
	theirs := []string{"SERVER_SOFTWARE=theirs"}
	if diff := cmp.Diff(theirs, Mark(theirs, []string{"gunicorn"})); diff != "" {
		t.Errorf("what is there already stays (-want +got):\n%s", diff)
	}
}

func TestACommandIsDirectWhereNothingElseCameBefore(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "gunicorn")
	if err := os.WriteFile(program, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
	for _, test := range []struct {
		line, argv []string
		want       bool
	}{
		{[]string{"python3", program, "app:app"}, []string{"gunicorn", "app:app"}, true},
		{[]string{"python3", "-m", "gunicorn.app.wsgiapp"}, []string{"python3", "-m", "gunicorn.app.wsgiapp"}, true},
		{[]string{"python3", "/elsewhere/gunicorn", "app:app"}, []string{"gunicorn", "app:app"}, false},
		{[]string{"python3", program, "app:app"}, []string{"sh", "-c", "exec gunicorn app:app"}, false},
		{[]string{"python3", program, "app:app"}, []string{"./wrapper", "gunicorn", "app:app"}, false},
		{[]string{"python3", program}, nil, false},
		{nil, []string{"gunicorn"}, false},
	} {
		if got := isDirect(test.line, test.argv); got != test.want {
			t.Errorf("%q of %q: %v", test.line, test.argv, got)
		}
	}
}

func TestTitlesNameTheirMaster(t *testing.T) {
	for line, want := range map[string]string{
		"gunicorn: master [app:app]":   "app:app",
		"gunicorn: worker [app:app.2]": "app:app",
		"gunicorn: worker":             "",
		"gunicorn":                     "",
		"":                             "",
	} {
		if got := titleOf([]string{line}); got != want {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
	if titleOf(nil) != "" {
		t.Error("a process without a command line has a title")
	}
}

// What somebody has started beside gunicorn is not known to be its own, whatever it
// is called; nor is a child that was there before gunicorn.
func TestWhatIsNotProvablyGunicornsIsNobodys(t *testing.T) {
	m, _ := serve(t, "27.0.1", "--workers=2")
	beside := exec.Command("sleep", "3600")
	if err := beside.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { beside.Process.Kill(); beside.Wait() })
	for end := time.Now().Add(200 * time.Millisecond); time.Now().Before(end); {
		list, err := m.Processes()
		if err != nil {
			t.Fatal(err)
		}
		if slices.ContainsFunc(list, func(i proc.Info) bool { return i.PID == beside.Process.Pid }) {
			t.Fatalf("process %d is listed with the generation", beside.Process.Pid)
		}
	}
}
