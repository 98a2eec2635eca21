package entrypoint

import (
	"os"
	"path/filepath"
	"testing"
)

// A module that is there and no program is gunicorn's, wherever it looks for it.
func TestAModuleIsGunicornsUnlessItIsAProgram(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	env := []string{"PATH=" + filepath.Join(dir, "bin"), "PYTHONPATH=" + filepath.Join(dir, "lib")}
	for _, file := range []string{
		"app.py", "both.py", "site/web.py", "package/__init__.py", "namespace/nothing.txt", "src/there.py", "lib/far.py", "bin/both", "bin/other.wsgi",
	} {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, nil, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		words []string
		args  string
		want  bool
	}{
		{[]string{"app", "-w", "2"}, "", true},
		{[]string{"site.web"}, "", true},
		{[]string{"package"}, "", true},
		{[]string{"namespace"}, "", false},
		{[]string{"far"}, "", true},
		{[]string{"there"}, "", false},
		{[]string{"there", "--chdir", "src"}, "", true},
		{[]string{"there"}, "--chdir=src", true},
		{[]string{"both"}, "", false},
		{[]string{"installed.wsgi"}, "", true},
		{[]string{"installed.asgi"}, "", true},
		{[]string{"other.wsgi"}, "", false},
		{[]string{"wsgi"}, "", false},
		{[]string{"app.py"}, "", false},
		{[]string{"missing"}, "", false},
		{[]string{"./app"}, "", false},
	} {
		if got := isModule(test.words, append(env, "GUNICORN_CMD_ARGS="+test.args)); got != test.want {
			t.Errorf("%q, GUNICORN_CMD_ARGS=%q: %t, want %t", test.words, test.args, got, test.want)
		}
	}
}

func TestAMistakenNameIsNeitherProgramNorModule(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	env := []string{"PATH=" + dir}
	for file, mode := range map[string]os.FileMode{"state.py": 0o644, "mans": 0o755} {
		if err := os.WriteFile(file, nil, mode); err != nil {
			t.Fatal(err)
		}
	}
	for word, want := range map[string]string{
		"stauts": "status", "Status": "status", "statsu": "status", "relaod": "reload", "healthcheckk": "healthcheck", "ver": "",
		"state": "", "mans": "", "mann": "man", "bash": "", "stat": "status", "./stauts": "", "stauts:app": "", "-stauts": "",
	} {
		if got := Mistaken([]string{word}, []string{"reload", "status", "healthcheck", "version", "man"}, env); got != want {
			t.Errorf("%s: %q, want %q", word, got, want)
		}
	}
	if got := Mistaken(nil, []string{"reload"}, env); got != "" {
		t.Errorf("no words: %q", got)
	}
}
