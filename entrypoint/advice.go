package entrypoint

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// whenNotRun is what to do about a command that could not be run; empty where
// the reason says it all.
func whenNotRun(argv []string, err error) string {
	word := argv[0]
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return whenNoProgram(argv)
	case errors.Is(err, fs.ErrNotExist):
		return whenNoInterpreter(word)
	case errors.Is(err, unix.ENOEXEC) && strings.HasPrefix(beginning(word), "\x7fELF"):
		return word + " is built for another kind of machine: see uname -m"
	case errors.Is(err, unix.ENOEXEC):
		return fmt.Sprintf("give %s a first line that names what runs it, such as #!/bin/sh", word)
	case errors.Is(err, fs.ErrPermission):
		return whenNotExecutable(word)
	}
	return ""
}

// servers are other web servers of Python, by the option of gunicorn's that does the same.
var servers = map[string]string{
	"uvicorn": asgi, "fastapi": asgi, "hypercorn": asgi, "daphne": asgi, "granian": asgi,
	"uwsgi": "", "waitress-serve": "",
}

const asgi = " --worker-class=uvicorn_worker.UvicornWorker"

// whenAnother is what to do about a command that is to be handed over, and is another
// server; empty where it is none.
func (c Command) whenAnother() string {
	option, is := servers[path.Base(c.Argv[0])]
	if !is || !c.Managed || c.Named {
		return ""
	}
	return "write stablehand MODULE:APPLICATION" + option + ", with gunicorn's own options, or run this without " + Prefix + "WATCH and " + Prefix + "BIND"
}

// whenNoProgram is for a first word that is no program: gunicorn where it is not
// installed, a file of Python, or a module that is not where modules are looked for.
func whenNoProgram(argv []string) string {
	word := argv[0]
	name, isFile := strings.CutSuffix(word, ".py")
	switch {
	case word == "gunicorn":
		return whenNoGunicorn(argv)
	case isFile && !strings.Contains(name, "/"):
		return fmt.Sprintf("to run it: stablehand python %s; to serve it with gunicorn: stablehand gunicorn %s:application",
			Shown(argv), name)
	case strings.Contains(word, ".") && module().MatchString(word) && path.Ext(word) != ".sh":
		return fmt.Sprintf("to run gunicorn with it: stablehand gunicorn %s, or %s:application", Shown(argv), word)
	}
	return "put the directory of that program in PATH, or write its whole path; stablehand help has stablehand's own commands"
}

// environments are where a virtual environment usually is, beside the application or
// in an image.
var environments = []string{".venv", "venv", "env", "/venv", "/opt/venv", "/app/.venv"}

// whenNoGunicorn is for a gunicorn that PATH does not lead to.
func whenNoGunicorn(argv []string) string {
	for _, dir := range append([]string{os.Getenv("VIRTUAL_ENV")}, environments...) {
		if program := dir + "/bin/gunicorn"; dir != "" && exists(program) {
			return fmt.Sprintf("write stablehand %s, or put %s first in PATH",
				Shown(append([]string{program}, argv[1:]...)), path.Dir(program))
		}
	}
	return "install gunicorn where the application is (pip install gunicorn), and put the bin directory of that virtual environment, if it is one, first in PATH"
}

// whenNoInterpreter is for a file that is there, and is said not to be since what
// is to run it is not.
func whenNoInterpreter(file string) string {
	if !exists(file) {
		return ""
	}
	first, ok := interpreterOf(file)
	switch {
	case !ok:
		return fmt.Sprintf("%s is there, but what loads it is not: it is built for another C library", file)
	case strings.HasSuffix(first, "\r"):
		return fmt.Sprintf("%s has Windows line ends, and so asks for %q: give it those of Unix", file, first)
	}
	return fmt.Sprintf("%s is there, but %s, which its first line names, is not", file, first)
}

// whenNotExecutable is for a file that lacks the permission to be run.
func whenNotExecutable(file string) string {
	if info, err := os.Stat(file); err != nil || !info.Mode().IsRegular() {
		return ""
	}
	by, _ := interpreterOf(file)
	if by == "" {
		by = map[string]string{".py": "python", ".sh": "sh"}[path.Ext(file)]
	}
	if by == "" {
		return fmt.Sprintf("make %s executable", file)
	}
	return fmt.Sprintf("make %s executable, or have it run by what reads it: stablehand %s %[1]s", file, by)
}

// interpreterOf is the one that a script's first line names, as it stands there.
func interpreterOf(file string) (name string, ok bool) {
	line, ok := strings.CutPrefix(beginning(file), "#!")
	if !ok {
		return "", false
	}
	line, _, _ = strings.Cut(line, "\n")
	return strings.Trim(line, " \t"), true
}

// beginning is that of a file, as much of it as the kernel looks at to see what
// it is; empty where it cannot be read.
func beginning(file string) string {
	f, err := os.Open(file)
	if err != nil {
		return ""
	}
	defer f.Close()
	b := make([]byte, 256)
	n, _ := f.Read(b)
	return string(b[:n])
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}
