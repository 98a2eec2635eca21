package entrypoint

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/stablehand/stablehand/entrypoint/control"
	"github.com/stablehand/stablehand/entrypoint/gunicorn"
	"github.com/stablehand/stablehand/entrypoint/life"
	"github.com/stablehand/stablehand/entrypoint/systemd"
	"github.com/stablehand/stablehand/entrypoint/watch"
	"github.com/stablehand/stablehand/reaper"
)

// prepare does all that comes before a managed command's life, and starts it
// where no running gunicorn was adopted.
func prepare(stop context.Context, c Config, command Command, r *reaper.Reaper, log *slog.Logger) next {
	var open closers
	refused := func(code int, text string, err any, do ...any) next {
		open.close()
		log.Error(text+": nothing was started", append([]any{"reason", err, "serving", 0, "code", code}, do...)...)
		return ended(code)
	}
	adopted, err := adoptLasting(stop, c, command, r, log)
	if err != nil {
		return refused(ExitFailed, "cannot start gunicorn", whatForeign(err), whenForeign(err)...)
	}
	left, err := findLeftOver(stop, c, command, r, log)
	if err != nil {
		return refused(ExitUsage, "cannot listen", oneLine(err), whenTaken(err)...)
	}
	starter, err := newAfresh(c, command, left, r, log)
	if err != nil {
		return refused(ExitUsage, "cannot listen", oneLine(err))
	}
	open.later(starter.close)
	if adopted != nil {
		open.later(readOn(adopted.PID(), log).close)
	}
	var first *life.Adopted
	if len(left) > 0 {
		if first, err = starter.takeOver(left); err != nil {
			return refused(ExitUsage, "cannot listen", oneLine(err))
		}
		open.later(readOn(first.PID(), log).close)
	}
	seen, stopped, err := firstLook(stop, c, command, log)
	if err != nil {
		return refused(ExitFailed, "cannot watch", err)
	}
	open.later(func() { seen.Close() })
	if stopped && adopted == nil && first == nil {
		open.close()
		return func(signals <-chan os.Signal) int { return stoppedBeforeStart(signals, log) }
	}
	teller := systemd.New(log)
	open.later(func() { teller.Close(lastWords) })
	keeper := newKeeper(c, command, log)
	world := life.World{Log: log, Teller: teller, Host: host{keeper}, Disk: disk{seen.Watcher}, Memory: newMemory(c)}
	if starter != nil {
		world.Starter = starter
	}
	if asks := newProber(c, log); asks != nil {
		world.Prober = asks
	}
	l := life.New(c.settings(), world, life.Content(seen.First()))
	server, err := listen(c, answers{l, r, seen.Watcher, seen.Resolver}, log)
	if err != nil {
		return refused(ExitUsage, "cannot listen", err, whenShared(err)...)
	}
	open.later(server.Close)
	var started life.Command
	if adopted != nil {
		first = adopted.begins(command.Pidfile, log)
	}
	if first == nil {
		p, err := start(stop, command, starter, r, log)
		if errors.As(err, new(notBegun)) {
			return refused(ExitUsage, "cannot begin gunicorn", oneLine(err))
		}
		if err != nil {
			open.close()
			return ended(startFailed(command.Argv, err, log))
		}
		started = p
	}
	return func(signals <-chan os.Signal) int {
		defer open.close()
		defer keeper.close() // nothing is left to be adopted
		return l.Run(started, first, relay(signals, called), relay(seen.Changes(), changed))
	}
}

// closers are what is to be closed in the end, the last first.
type closers []func()

func (c *closers) later(close func()) { *c = append(*c, close) }

func (c closers) close() {
	for _, close := range slices.Backward(c) {
		close()
	}
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

// whenTaken is what to do about an address that another stablehand has.
func whenTaken(err error) []any {
	if !errors.Is(err, errTaken) {
		return nil
	}
	return []any{"do", "stop that one, or set another " + Prefix + "BIND"}
}

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

// whenShared is what to do about a socket that is another stablehand's.
func whenShared(err error) []any {
	if !errors.Is(err, control.ErrLives) {
		return nil
	}
	return []any{"do", "give each its own " + Prefix + "CONTROL"}
}

// relay passes on what a channel yields in package life's words.
func relay[From, To any](from <-chan From, said func(From) To) <-chan To {
	to := make(chan To)
	go func() {
		for one := range from {
			to <- said(one)
		}
	}()
	return to
}

// changed is a change as package life is told it.
func changed(c watch.Change) life.Change {
	return life.Change{Paths: c.Paths, Content: life.Content(c.Content), Since: c.Since}
}

// watching is all that is known of what is watched.
type watching struct {
	*watch.Watcher
	*watch.Resolver
}

// firstLook begins to watch. It comes before gunicorn's own look, so that no
// change is missed, unless a file system does not answer. A stop ends it, and is
// still there for who reads the signals; nothing is watched then.
func firstLook(stop context.Context, c Config, command Command, log *slog.Logger) (w watching, stopped bool, err error) {
	long := time.AfterFunc(longLook, func() { log.Info("reading what is watched, before gunicorn starts") })
	defer long.Stop()
	o := c.WatchOptions(log)
	o.LeaveOut = command.pidfiles()
	w, err = watchAll(stop, o)
	if !errors.Is(err, context.Canceled) {
		return w, false, err
	}
	w, err = watchAll(context.Background(), watch.Options{Log: log})
	return w, true, err
}

func watchAll(ctx context.Context, o watch.Options) (w watching, err error) {
	if w.Watcher, err = watch.New(ctx, o); err != nil {
		return w, err
	}
	w.Resolver, err = watch.NewResolver(ctx, o)
	return w, err
}

// longLook is how long the first look may take without a word.
const longLook = time.Second

// listen begins to answer an operator. Without a socket that nobody asked for
// a container can live.
func listen(c Config, a answers, log *slog.Logger) (*control.Server, error) {
	socket, err := control.Listen(c.Control)
	switch {
	case errors.Is(err, control.ErrLives):
		return nil, err
	case err != nil && c.Control != "":
		return nil, fmt.Errorf("%sCONTROL: %w", Prefix, err)
	case err != nil:
		log.Warn("no control socket: reload, status and healthcheck will find nobody",
			"reason", strings.ReplaceAll(err.Error(), "\n", "; "), "do", "set "+Prefix+"CONTROL to a path in a directory that can be written")
	}
	var address net.Listener
	if c.HTTP != "" {
		if address, err = net.Listen("tcp", string(c.HTTP)); err != nil {
			control.Serve(a, socket, nil, log).Close()
			return nil, fmt.Errorf("%sHTTP: %w", Prefix, err)
		}
		log.Info("listening", "http", address.Addr())
	}
	return control.Serve(a, socket, address, log), nil
}

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
	for said := false; ; {
		found, err := adopt(c, command, r)
		if err != nil || found == nil || found.Retiring != nil || !found.Leaving() {
			return found, err
		}
		if !said {
			said = true
			log.Info("a gunicorn of this command has been told to end: another one is started when it has", "pid", found.PID(), "serving", 0)
		}
		select {
		case <-found.Done():
		case <-time.After(leavingAgain): // should it have looked so without leaving
		case <-stop.Done():
			return found, nil
		}
	}
}

// leavingAgain is the pause between two looks at whether a gunicorn is leaving.
const leavingAgain = 2 * time.Second

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
