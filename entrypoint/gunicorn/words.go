package gunicorn

import (
	"path"
	"slices"
	"strings"

	"github.com/kballard/go-shellquote"

	"github.com/stablehand/stablehand/internal/pattern"
)

// Words is what a command line says of gunicorn.
type Words struct {
	Named   bool   // gunicorn stands among the words
	Daemon  string // the word that asks gunicorn to daemonise itself, if any
	Reload  bool   // its own reloader is asked for
	Preload bool   // the master is to load the application, once for all workers
	Pidfile string // of --pid or -p, if any
	Chdir   string // of --chdir, if any: where a relative Pidfile is
	Config  string // of --config or -c, if any
	Bind    string // the words of --bind or -b, if any

	ReusePort bool // each worker is to open its sockets by itself
}

// ReadWords reads a command line and GUNICORN_CMD_ARGS, of which the command
// line counts more, as in gunicorn. What a configuration file says is not
// seen.
func ReadWords(argv []string, cmdArgs string) Words {
	options, named := gunicornWords(argv)
	var w Words
	if env, err := shellquote.Split(cmdArgs); err == nil {
		w.readOptions(env)
	}
	w.readOptions(options)
	w.Named = named
	return w
}

// cmdArgs is gunicorn's variable whose value is words that come before its own.
const cmdArgs = "GUNICORN_CMD_ARGS"

// CmdArgs is the value of GUNICORN_CMD_ARGS that gunicorn gets: what we have, unless
// env stands before gunicorn and sets it.
func CmdArgs(argv []string, have string) string {
	for _, word := range argv {
		if isProgram(word) {
			break
		}
		if value, is := strings.CutPrefix(word, cmdArgs+"="); is {
			have = value
		}
	}
	return have
}

// wsgiapp is the module that gunicorn's own script runs.
const wsgiapp = "gunicorn.app.wsgiapp"

// dashM is Python's -m, also bundled with other flags or with its value.
var dashM = pattern.New(`^-[bBdEiIOPqsSuvx]*m(.*)$`)

// moduleOf is the module that an interpreter with these words after it runs, and
// which of them ends in its name; empty where it runs none.
func moduleOf(words []string) (name string, at int) {
	for i := 0; i < len(words); i++ {
		switch m := dashM().FindStringSubmatch(words[i]); {
		case m != nil && m[1] != "":
			return m[1], i
		case m != nil && i+1 < len(words):
			return words[i+1], i + 1
		case words[i] == "-W", words[i] == "-X":
			i++ // and its value
		case !strings.HasPrefix(words[i], "-"):
			return "", 0 // a script
		}
	}
	return "", 0
}

// moduleAt is which word of a command line ends in the name of one of these modules,
// as in python -m gunicorn; 0 where none does.
func moduleAt(argv []string, names ...string) int {
	for i, word := range argv {
		if !python().MatchString(path.Base(word)) {
			continue
		}
		if name, at := moduleOf(argv[i+1:]); slices.Contains(names, name) {
			return i + 1 + at
		}
	}
	return 0
}

// Lasting is a command line that can be handed over, for one that cannot.
//
// A gunicorn that was started by -m starts its successor by the file of its module
// instead, whose folder then comes first among Python's paths. After -m gunicorn
// that is gunicorn's own: http there is not Python's, and an application that
// imports that fails to load (seen on 20.1.0 to 27.0.1). After -m
// gunicorn.app.wsgiapp, which is the same program, it holds next to nothing.
// PYTHONSAFEPATH would do it, too, but from Python 3.11 on only, and for every
// Python program that the application starts.
func Lasting(argv []string) []string {
	at := moduleAt(argv, "gunicorn")
	if at == 0 {
		return argv
	}
	lasting := slices.Clone(argv)
	lasting[at] = strings.TrimSuffix(lasting[at], "gunicorn") + wsgiapp
	return lasting
}

// inShell finds gunicorn as a command within a line of shell.
var inShell = pattern.New(`(^|[\s;&|(/'"])gunicorn(?:\.app\.wsgiapp)?($|[\s;&|)'"])`)

// gunicornWords returns the words that come after gunicorn's name: as a word
// of its own, as python's -m gunicorn, or within a line of shell.
func gunicornWords(argv []string) (options []string, named bool) {
	module := moduleAt(argv, "gunicorn", wsgiapp)
	for i, word := range argv {
		if isProgram(word) || module > 0 && i == module {
			return argv[i+1:], true
		}
		if strings.ContainsAny(word, " \t\n") && inShell().MatchString(word) {
			return shellWords(word), true
		}
	}
	return nil, false
}

// shellWords returns the words of gunicorn's command within a line of shell: of the
// first that serves, which comes after one that only checks.
func shellWords(line string) (words []string) {
	for _, found := range inShell().FindAllStringSubmatchIndex(line, -1) {
		words = shellWordsOf(line[found[4]:]) // from the end of the name
		if !slices.Contains(words, "--check-config") && !slices.Contains(words, "--print-config") {
			break
		}
	}
	return words
}

// shellWordsOf returns the words of a command, in a line of shell after its name.
// What only a shell can tell, such as variables, stays as it is written.
func shellWordsOf(rest string) []string {
	words, err := shellquote.Split(strings.TrimLeft(rest, `'"`))
	if err != nil {
		words = strings.Fields(rest)
	}
	for i, word := range words {
		if strings.Trim(word, ";&|)") == "" {
			return words[:i]
		}
		if end := strings.TrimRight(word, ";)"); end != word {
			return append(words[:i:i], end)
		}
	}
	return words
}

// daemonFlag is gunicorn's -D, also bundled with other flags; argparse takes
// any unambiguous beginning of --daemon too.
var daemonFlag = pattern.New(`^(-R?D.*|--da(e|em|emo|emon)?)$`)

// reloadFlag turns gunicorn's reloader on. No beginning of it is unambiguous, and
// what goes with it, such as --reload-engine, does nothing by itself.
const reloadFlag = "--reload"

// preloadFlag is --preload, of which argparse takes any unambiguous beginning.
var preloadFlag = pattern.New(`^--pre(l|lo|loa|load)?$`)

func (w *Words) readOptions(words []string) {
	for i, word := range words {
		next := func() string {
			if i+1 < len(words) {
				return words[i+1]
			}
			return ""
		}
		name, value, joined := strings.Cut(word, "=")
		switch {
		case word == "--":
			return // what follows are no options
		case daemonFlag().MatchString(word):
			w.Daemon = word
		case word == reloadFlag:
			w.Reload = true
		case preloadFlag().MatchString(word):
			w.Preload = true
		case word == "--bind", word == "-b":
			w.Bind = strings.TrimSpace(word + " " + next())
		case name == "--bind", strings.HasPrefix(word, "-b"):
			w.Bind = word
		case word == "--reuse-port":
			w.ReusePort = true
		case name == "--pid" && joined:
			w.Pidfile = value
		case word == "--pid", word == "-p":
			w.Pidfile = next()
		case strings.HasPrefix(word, "-p"):
			w.Pidfile = strings.TrimPrefix(word, "-p")
		case name == "--config" && joined:
			w.Config = value
		case word == "--config", word == "-c":
			w.Config = next()
		case strings.HasPrefix(word, "-c"):
			w.Config = strings.TrimPrefix(word, "-c")
		case name == "--chdir" && joined:
			w.Chdir = value
		case word == "--chdir":
			w.Chdir = next()
		}
	}
}

// PidfilePath is where gunicorn writes its pidfile, empty if nowhere.
func (w Words) PidfilePath() string {
	if w.Pidfile == "" || path.IsAbs(w.Pidfile) {
		return w.Pidfile
	}
	return path.Join(w.Chdir, w.Pidfile)
}
