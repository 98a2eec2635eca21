package gunicorn

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

func TestIdentityIsProvedByWords(t *testing.T) {
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	const ours, other, none, unknown = "", "another command's gunicorn", "alive but no gunicorn master", "a gunicorn whose words cannot be told"
	for name, test := range map[string]struct {
		command []string // ours
		cmdArgs string
		line    []string // of the process
		itsArgs string
		want    string
		dir     string // ours; the process's is this one
	}{
		"the same":               {[]string{"gunicorn", "-w2", "a:b"}, "", []string{"python3", "/bin/gunicorn", "-w2", "a:b"}, "", ours, ""},
		"another application":    {[]string{"gunicorn", "-w2", "a:b"}, "", []string{"python3", "/bin/gunicorn", "-w2", "a:c"}, "", other, ""},
		"one word more":          {[]string{"gunicorn", "a:b"}, "", []string{"python3", "/bin/gunicorn", "a:b", "--preload"}, "", other, ""},
		"as a module":            {[]string{"python", "-m", "gunicorn", "a:b"}, "", []string{"python3", "-m", "gunicorn", "a:b"}, "", ours, ""},
		"a module, once more":    {[]string{"python", "-m", "gunicorn", "a:b"}, "", []string{"python3", "/lib/gunicorn/__main__.py", "a:b"}, "", ours, ""},
		"by a wrapper":           {[]string{"ddtrace-run", "gunicorn", "a:b"}, "", []string{"python3", "/bin/gunicorn", "a:b"}, "", ours, ""},
		"by a shell":             {[]string{"sh", "-c", "migrate && exec gunicorn -w2 a:b >log 2>&1"}, "", []string{"python3", "/bin/gunicorn", "-w2", "a:b"}, "", ours, ""},
		"by a shell, another":    {[]string{"sh", "-c", "exec gunicorn -w2 a:b"}, "", []string{"python3", "/bin/gunicorn", "-w2", "a:c"}, "", other, ""},
		"by a shell, expanded":   {[]string{"sh", "-c", "exec gunicorn --bind=:$PORT $ARGS a:b"}, "", []string{"python3", "/bin/gunicorn", "--bind=:80", "-w", "2", "a:b"}, "", ours, ""},
		"by a shell, expanded 2": {[]string{"sh", "-c", "exec gunicorn --bind=:$PORT a:b"}, "", []string{"python3", "/bin/gunicorn", "--bind=:80", "a:c"}, "", other, ""},
		"GUNICORN_CMD_ARGS":      {[]string{"gunicorn", "a:b"}, "-w2", []string{"python3", "/bin/gunicorn", "a:b"}, "-w2", ours, ""},
		"others of those":        {[]string{"gunicorn", "a:b"}, "-w2", []string{"python3", "/bin/gunicorn", "a:b"}, "-w3", "a gunicorn with another GUNICORN_CMD_ARGS", ""},
		"by a shell, apart":      {[]string{"sh", "-c", "exec gunicorn a:b >> log 2>| errors"}, "", []string{"python3", "/bin/gunicorn", "a:b"}, "", ours, ""},
		"by a shell, checked":    {[]string{"sh", "-c", "gunicorn --check-config a:b; exec gunicorn -w2 a:b"}, "", []string{"python3", "/bin/gunicorn", "-w2", "a:b"}, "", ours, ""},
		"by bash":                {[]string{"bash", "-c", "exec gunicorn a:b &>> log"}, "", []string{"python3", "/bin/gunicorn", "a:b"}, "", ours, ""},
		"joined to -m":           {[]string{"python", "-mgunicorn.app.wsgiapp", "a:b"}, "", []string{"python3", "/lib/gunicorn/app/wsgiapp.py", "a:b"}, "", ours, ""},
		"joined to -m, another":  {[]string{"python", "-mgunicorn.app.wsgiapp", "a:b"}, "", []string{"python3", "-mgunicorn.app.wsgiapp", "a:c"}, "", other, ""},
		"by a script":            {[]string{"./start"}, "--pid=p", []string{"python3", "/bin/gunicorn", "a:b"}, "--pid=p", ours, ""},
		"by another script":      {[]string{"./start"}, "--pid=p", []string{"python3", "/bin/gunicorn", "a:b"}, "--pid=q", "a gunicorn with another GUNICORN_CMD_ARGS", ""},
		"titled":                 {[]string{"gunicorn", "a:b"}, "", []string{"gunicorn: master [a:b]"}, "", unknown, ""},
		"of another site":        {[]string{"gunicorn", "a:b"}, "", []string{"python3", "/bin/gunicorn", "a:b"}, "", "a gunicorn of another directory, " + here(t), "/"},
		"of this site":           {[]string{"gunicorn", "a:b"}, "", []string{"python3", "/bin/gunicorn", "a:b"}, "", ours, "."},
		"by a shell, somewhere":  {[]string{"sh", "-c", "cd /srv && exec gunicorn a:b"}, "", []string{"python3", "/bin/gunicorn", "a:b"}, "", ours, "/"},
		"no gunicorn":            {[]string{"gunicorn", "a:b"}, "", []string{"sleep", "a:b"}, "", none, ""},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.Command(program)
			cmd.Args = test.line
			cmd.Env = append(os.Environ(), idle+"=1", "GORACE=atexit_sleep_ms=0", "GUNICORN_CMD_ARGS="+test.itsArgs)
			in, _ := cmd.StdinPipe()
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer cmd.Wait()
			defer in.Close()
			awaitWords(t, cmd.Process.Pid)
			got := ""
			if err := (Identity{test.command, test.cmdArgs, test.dir}).proves(cmd.Process.Pid); err != nil {
				got = err.Error()
			}
			if got != test.want {
				t.Errorf("%q for %q: %q, want %q", strings.Join(test.line, " "), fmt.Sprint(test.command), got, test.want)
			}
		})
	}
}

func here(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}
