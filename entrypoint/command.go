package entrypoint

import (
	"errors"
	"fmt"
	"strings"

	"github.com/stablehand/stablehand/entrypoint/gunicorn"
)

// Command is what stablehand runs.
type Command struct {
	Argv    []string
	Named   bool   // gunicorn stands among the words
	Managed bool   // a handoff is possible; any other command just gets an init
	Pidfile string // where gunicorn writes its pid, if anywhere
}

// ReadCommand makes the command out of stablehand's own words, as the
// entrypoint of gunicorn's image does: options, or an application, are
// gunicorn's; any other words, and those after --, stand for themselves.
// gunicornArgs is the value of GUNICORN_CMD_ARGS.
func ReadCommand(words []string, c Config, gunicornArgs string) (Command, error) {
	argv, err := argvOf(words, c.App)
	if err != nil {
		return Command{}, err
	}
	said := gunicorn.ReadWords(argv, gunicornArgs)
	command := Command{
		Argv:    argv,
		Named:   said.Named,
		Managed: said.Named || len(c.Watch) > 0,
		Pidfile: said.PidfilePath(),
	}
	if command.Managed && said.Daemon != "" {
		return Command{}, fmt.Errorf("%s makes gunicorn leave the container's foreground, where stablehand can look after it: remove it", said.Daemon)
	}
	return command, nil
}

func argvOf(words []string, app string) ([]string, error) {
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
	case strings.HasPrefix(words[0], "-"), strings.Contains(words[0], ":"):
		return append([]string{"gunicorn"}, words...), nil
	}
	return words, nil
}
