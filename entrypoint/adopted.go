package entrypoint

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/stablehand/stablehand/entrypoint/gunicorn"
	"github.com/stablehand/stablehand/entrypoint/life"
	"github.com/stablehand/stablehand/reaper"
)

// adopted is a gunicorn that was started by an earlier stablehand, and what that
// has kept of it.
type adopted struct {
	*gunicorn.Adopted
	content life.Content
}

// adopt takes over the gunicorn to which the pidfile leads; it returns nil where
// there is none.
func adopt(c Config, command Command, r *reaper.Reaper) (*adopted, error) {
	if command.Pidfile == "" {
		return nil, nil
	}
	kept := readKept(command.Pidfile)
	if kept.lives() && kept.By.lives() && kept.By.PID != os.Getpid() {
		return nil, fmt.Errorf("pidfile %s names process %d, which is %w, process %d", command.Pidfile, kept.PID, errTaken, kept.By.PID)
	}
	served := kept.of(command.identity().Digest())
	found, err := gunicorn.Adopt(r, command.Pidfile, command.identity(), served)
	if err != nil || found == nil {
		return nil, err
	}
	a := &adopted{Adopted: found}
	if found.Is(served) {
		a.content = kept.content(watchDigest(c))
	}
	return a, nil
}

// adoptLasting is adopt, but for a gunicorn that is leaving, with nothing that
// comes after it: it waits for its end, since nothing serves then. A stop ends the
// wait, and is the life's.
func adoptLasting(stop context.Context, c Config, command Command, r *reaper.Reaper, log *slog.Logger) (*adopted, error) {
	for leaving := (leaving{log: log}); ; {
		found, err := adopt(c, command, r)
		if err != nil || found == nil || found.Retiring != nil || !found.Leaving() || !leaving.wait(stop, found.Master) {
			return found, err
		}
	}
}

// begins is what a life begins with.
func (a *adopted) begins(pidfile string, log *slog.Logger) *life.Adopted {
	first := &life.Adopted{Generation: master{a.Master}, Content: a.content}
	number := 1
	if a.Retiring != nil {
		first.Retiring = master{a.Retiring}
		number = 2
		log.Info("an old generation is leaving", "generation", 1, "pid", a.Retiring.PID())
	}
	log.Info("adopted a running gunicorn", "generation", number, "pid", a.PID(), "pidfile", pidfile)
	warn(a.Master, number, log)
	return first
}

// whatForeign is the error of a pidfile, with the words of another command's
// gunicorn that it names.
func whatForeign(err error) error {
	var foreign *gunicorn.ForeignError
	if errors.As(err, &foreign) && len(foreign.Words) > 0 {
		return fmt.Errorf("%w: %s", err, Shown(foreign.Words))
	}
	return err
}

// errTaken is the error of a gunicorn that another stablehand runs.
var errTaken = errors.New("looked after by another stablehand")

// whenForeign is what to do about a pidfile that is another process's.
func whenForeign(err error) []any {
	if errors.Is(err, errTaken) {
		return []any{"do", "stop that one, or have --pid name another file"}
	}
	if !errors.As(err, new(*gunicorn.ForeignError)) {
		return nil
	}
	return []any{"do", "remove the file if it is stale; else stop that process, or have --pid name another file"}
}
