package entrypoint

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/stablehand/stablehand/entrypoint/envfile"
)

// environLimit is how long file systems may take to tell what is in ENV_FILE.
const environLimit = 10 * time.Second

// mostFaults is how many lines of ENV_FILE that cannot be read are told at once.
const mostFaults = 10

// Environ is the environment that a command is started with now: our own, with the
// variables of ENV_FILE. The error says, in a line each, what of that cannot be read.
// There are no values in it.
func (c Config) Environ(ctx context.Context) ([]string, error) {
	if len(c.EnvFile) == 0 {
		return os.Environ(), nil
	}
	limited, cancel := context.WithTimeout(ctx, environLimit)
	defer cancel()
	variables, err := envfile.Read(limited, c.EnvFile)
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case err != nil:
		return nil, fewer(err)
	}
	return envfile.Merge(os.Environ(), variables), nil
}

// fewer leaves out what is more than mostFaults lines of an error.
func fewer(err error) error {
	lines := strings.Split(err.Error(), "\n")
	if len(lines) <= mostFaults {
		return err
	}
	return errors.New(strings.Join(lines[:mostFaults], "\n") + fmt.Sprintf("\nand %d more", len(lines)-mostFaults))
}

// valueIn is the value of a variable in an environment; empty if it is not there.
func valueIn(env []string, name string) (value string) {
	for _, entry := range env {
		if v, is := strings.CutPrefix(entry, name+"="); is {
			value = v
		}
	}
	return value
}

// GunicornArgs is the value of GUNICORN_CMD_ARGS in an environment.
func GunicornArgs(env []string) string { return valueIn(env, "GUNICORN_CMD_ARGS") }
