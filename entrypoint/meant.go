package entrypoint

import (
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/agext/levenshtein"

	"github.com/stablehand/stablehand/entrypoint/gunicorn"
	"github.com/stablehand/stablehand/internal/deaf"
	"github.com/stablehand/stablehand/internal/pattern"
	"github.com/stablehand/stablehand/reaper"
)

// module is a name of Python's, also with dots in it.
var module = pattern.New(`^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$`)

// servable is how Django names the module that gunicorn serves, wherever it is.
var servable = pattern.New(`\.[aw]sgi$`)

// isModule says whether the first word is a module that gunicorn can serve, as Django's
// documentation has it after gunicorn's name, and no program: by its name, or since it
// is there. The working directory, and gunicorn's, are where it may be, and the
// environment's PYTHONPATH; a program is in its PATH.
func isModule(words, env []string) bool {
	word := words[0]
	if !module().MatchString(word) {
		return false
	}
	chdir := gunicorn.ReadWords(append([]string{"gunicorn"}, words...), GunicornArgs(env)).Chdir
	dirs := append([]string{"", chdir}, filepath.SplitList(valueIn(env, "PYTHONPATH"))...)
	there := func(dir string) bool {
		file := path.Join(dir, strings.ReplaceAll(word, ".", "/"))
		return exists(file+".py") || exists(file+"/__init__.py")
	}
	return seen(func() bool {
		return (servable().MatchString(word) || slices.ContainsFunc(dirs, there)) && !isProgram(word, env)
	})
}

// Mistaken returns the name that the first word most likely stands for, and empty
// where it is like none of them, or is a program or a module in the environment.
func Mistaken(words, names, env []string) string {
	if len(words) == 0 || !module().MatchString(words[0]) {
		return ""
	}
	word := words[0]
	distance := func(name string) int { return levenshtein.Distance(word, name, nil) }
	name := slices.MinFunc(names, func(a, b string) int { return distance(a) - distance(b) })
	if distance(name) > max(1, len(name)/3) || isModule(words, env) {
		return ""
	}
	if !seen(func() bool { return !isProgram(word, env) }) {
		return ""
	}
	return name
}

// isProgram says whether a word without slashes is one that can be run in an environment.
func isProgram(word string, env []string) bool {
	_, err := reaper.Program(word, &syscall.ProcAttr{Env: env})
	return err == nil
}

// seen asks a question about files. It is false, too, where a file system does not
// answer: the words then stand for themselves.
func seen(is func() bool) bool {
	answer := make(chan bool, 1)
	go deaf.Call(func() { answer <- is() })
	select {
	case yes := <-answer:
		return yes
	case <-time.After(seenLimit):
		return false
	}
}

// seenLimit is how long a file system may take to answer.
const seenLimit = 2 * time.Second
