package gunicorn

import (
	"path"
	"regexp"
	"strings"

	"github.com/kballard/go-shellquote"
)

// Words is what a command line says of gunicorn.
type Words struct {
	Named   bool   // gunicorn stands among the words
	Daemon  string // the word that asks gunicorn to daemonise itself, if any
	Pidfile string // of --pid or -p, if any
	Chdir   string // of --chdir, if any: where a relative Pidfile is
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

// inShell finds gunicorn as a command within a line of shell.
var inShell = regexp.MustCompile(`(^|[\s;&|(/'"])gunicorn($|[\s;&|)'"])`)

// gunicornWords returns the words that come after gunicorn's name: as a word
// of its own, as python's -m gunicorn, or within a line of shell.
func gunicornWords(argv []string) (options []string, named bool) {
	for i, word := range argv {
		if path.Base(word) == "gunicorn" || word == "gunicorn.app.wsgiapp" {
			return argv[i+1:], true
		}
		if strings.ContainsAny(word, " \t\n") && inShell.MatchString(word) {
			return shellWords(word), true
		}
	}
	return nil, false
}

// shellWords returns the words of gunicorn's command within a line of shell.
// What only a shell can tell, such as variables, stays as it is written.
func shellWords(line string) []string {
	start := inShell.FindStringSubmatchIndex(line)
	rest := line[start[4]:] // from the end of the name
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
var daemonFlag = regexp.MustCompile(`^(-R?D.*|--da(e|em|emo|emon)?)$`)

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
		case daemonFlag.MatchString(word):
			w.Daemon = word
		case name == "--pid" && joined:
			w.Pidfile = value
		case word == "--pid", word == "-p":
			w.Pidfile = next()
		case strings.HasPrefix(word, "-p"):
			w.Pidfile = strings.TrimPrefix(word, "-p")
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
