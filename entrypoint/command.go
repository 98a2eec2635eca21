package entrypoint

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/stablehand/stablehand/entrypoint/gunicorn"
	"github.com/stablehand/stablehand/internal/pattern"
)

// Command is what stablehand runs.
type Command struct {
	Argv    []string
	Named   bool   // gunicorn stands among the words
	Managed bool   // a handoff is possible; any other command just gets an init
	Pidfile string // where gunicorn writes its pid, if anywhere

	Binds   string // the words that tell gunicorn where to listen, if any
	Chdir   string // where gunicorn works, of --chdir
	CmdArgs string // the value of GUNICORN_CMD_ARGS, as gunicorn gets it
}

// ReadCommand makes the command out of stablehand's own words, as the
// entrypoint of gunicorn's image does: options, or an application, are
// gunicorn's, and so is a module that is no program; any other words, and those
// after --, stand for themselves. The environment is the one that the command gets: its
// PATH, PYTHONPATH and GUNICORN_CMD_ARGS count.
func ReadCommand(words []string, c Config, env []string) (Command, error) {
	argv, err := argvOf(words, string(c.App), env)
	if err != nil {
		return Command{}, err
	}
	argv = gunicorn.Lasting(argv)
	gunicornArgs := gunicorn.CmdArgs(argv, GunicornArgs(env))
	said := gunicorn.ReadWords(argv, gunicornArgs)
	command := Command{
		Argv:    argv,
		Named:   said.Named,
		Managed: said.Named || len(c.Watch) > 0 || len(c.Bind) > 0,
		Pidfile: said.PidfilePath(),

		Binds:   said.Bind,
		Chdir:   said.Chdir,
		CmdArgs: gunicornArgs,
	}
	if command.Managed {
		if err := refuse(said, c); err != nil {
			return Command{}, err
		}
	}
	return command, nil
}

// refuse is the error of words with which gunicorn cannot be looked after.
func refuse(said gunicorn.Words, c Config) error {
	switch {
	case said.Daemon != "":
		return fmt.Errorf("%s makes gunicorn leave the container's foreground, where stablehand can look after it: remove it", shown("", said.Daemon))
	case said.Reload:
		return fmt.Errorf("--reload has gunicorn's workers end themselves when a file is saved, and one with an error in it ends the container: remove it, and name what matters in %sWATCH, such as %[1]sWATCH=**/*.py", Prefix)
	case len(c.Bind) > 0 && said.Pidfile != "":
		return fmt.Errorf("--pid names one file, and with %sBIND there are two generations at times, each with a pid of its own: remove it", Prefix)
	case len(c.Bind) > 0 && said.ReusePort:
		return fmt.Errorf("--reuse-port has gunicorn's workers open sockets of their own, beside those of %sBIND: remove it", Prefix)
	}
	return nil
}

// identity is by what a gunicorn that runs is known to be this command's.
func (c Command) identity() gunicorn.Identity {
	dir, err := filepath.Abs(c.Chdir)
	if err != nil {
		dir = "" // we are nowhere, as far as can be told
	}
	return gunicorn.Identity{Argv: c.Argv, CmdArgs: c.CmdArgs, Dir: dir}
}

func argvOf(words []string, app string, env []string) ([]string, error) {
	if first, ok := leadingVariable(words); ok {
		return nil, fmt.Errorf("%s stands before the command, where only a shell takes it for a variable: set it in the container's environment", shown("", first))
	}
	switch {
	case len(words) == 0 && app != "":
		return []string{"gunicorn", app}, nil
	case len(words) == 0:
		return []string{"gunicorn"}, nil
	case words[0] == "--" && len(words) == 1:
		return nil, errors.New("no command after --: give one, such as stablehand -- gunicorn app:app")
	case words[0] == "--":
		return words[1:], nil
	case words[0] == "":
		return nil, errors.New("the first word is empty: give a command, such as gunicorn app:app, or none at all")
	case strings.HasPrefix(words[0], "-"), strings.Contains(words[0], ":"), isModule(words, env):
		return append([]string{"gunicorn"}, words...), nil
	}
	return words, nil
}

var variable = pattern.New(`^[A-Za-z_][A-Za-z0-9_]*=`)

// leadingVariable is the first word of a command, if it gives a variable a value.
func leadingVariable(words []string) (first string, ok bool) {
	if len(words) > 1 && words[0] == "--" {
		words = words[1:]
	}
	if len(words) == 0 || !variable().MatchString(words[0]) {
		return "", false
	}
	return words[0], true
}
