package reaper

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// Program is what a command's first word names where the command begins: a path is
// taken from its directory, and any other word is looked up in the PATH of its
// environment, as a shell there would do it. The error wraps exec.ErrNotFound or
// fs.ErrNotExist where there is no such program. It waits for file systems.
func Program(word string, attr *syscall.ProcAttr) (string, error) {
	within := func(file string) string {
		if filepath.IsAbs(file) || attr.Dir == "" {
			return file
		}
		return filepath.Join(attr.Dir, file)
	}
	if strings.Contains(word, "/") {
		_, err := exec.LookPath(within(word))
		return word, err
	}
	for _, dir := range filepath.SplitList(pathIn(attr.Env)) {
		file := filepath.Join(dir, word)
		if !strings.Contains(file, "/") {
			file = "./" + file // PATH has the directory itself
		}
		if _, err := exec.LookPath(within(file)); err == nil {
			return file, nil
		}
	}
	return "", &exec.Error{Name: word, Err: exec.ErrNotFound}
}

// pathIn is the PATH of an environment; our own, where that is ours.
func pathIn(env []string) (path string) {
	if env == nil {
		return os.Getenv("PATH")
	}
	for _, entry := range env {
		if value, is := strings.CutPrefix(entry, "PATH="); is {
			path = value
		}
	}
	return path
}
