package entrypoint

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path"
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

// preparation is all that comes before a managed command's life. What its steps have
// opened is closed again where a later one fails, or in the end.
type preparation struct {
	stop    context.Context // ends once we are told to stop
	config  Config
	command Command
	reaper  *reaper.Reaper
	log     *slog.Logger

	open    closers
	starter *afresh       // nil where the sockets are gunicorn's
	adopted *adopted      // the gunicorn of an earlier stablehand; nil where there is none
	first   *life.Adopted // what a life begins with; nil where gunicorn is to be started
	seen    watching
	keeper  *keeper
}

// prepare goes through the steps. Gunicorn is started in the last one, unless one runs
// that was adopted.
func prepare(stop context.Context, c Config, command Command, r *reaper.Reaper, log *slog.Logger) next {
	p := &preparation{stop: stop, config: c, command: command, reaper: r, log: log}
	if refused := p.find(); refused != nil {
		return p.refuse(refused)
	}
	stopped, err := p.look()
	if err != nil {
		return p.refuse(&unstarted{ExitFailed, "cannot watch", err, nil})
	}
	if stopped && p.adopted == nil && p.first == nil {
		p.open.close()
		return func(signals <-chan os.Signal) int { return stoppedBeforeStart(signals, log) }
	}
	l, refused := p.live()
	if refused != nil {
		return p.refuse(refused)
	}
	started, refused := p.start()
	if refused != nil {
		return p.refuse(refused)
	}
	return func(signals <-chan os.Signal) int {
		defer p.open.close()
		defer p.keeper.close() // nothing is left to be adopted
		return l.Run(started, p.first, relay(signals, called), relay(p.seen.Changes(), changed))
	}
}

// refuse closes what is open, and says why nothing was started.
func (p *preparation) refuse(why *unstarted) next {
	p.open.close()
	return ended(why.say(p.log))
}

// unstarted is why nothing was started.
type unstarted struct {
	code int    // to exit with
	text string // what cannot be done
	err  any
	do   []any
}

// say logs it, and returns the code to exit with.
func (r *unstarted) say(log *slog.Logger) int {
	log.Error(r.text+": nothing was started", append([]any{"reason", r.err, "serving", 0, "code", r.code}, r.do...)...)
	return r.code
}

// find looks for a gunicorn of this command that serves already, and opens the sockets
// where they are ours.
func (p *preparation) find() *unstarted {
	adopted, err := adoptLasting(p.stop, p.config, p.command, p.reaper, p.log)
	if err != nil {
		return &unstarted{ExitFailed, "cannot start gunicorn", whatForeign(err), whenForeign(err)}
	}
	left, err := findLeftOver(p.stop, p.config, p.command, p.reaper, p.log)
	if err != nil {
		return &unstarted{ExitUsage, "cannot listen", oneLine(err), whenTaken(err)}
	}
	if p.starter, err = newAfresh(p.config, p.command, left, p.reaper, p.log); err != nil {
		return &unstarted{ExitUsage, "cannot listen", oneLine(err), nil}
	}
	p.open.later(p.starter.close)
	if p.adopted = adopted; adopted != nil {
		p.open.later(readOn(adopted.PID(), p.log).close)
	}
	if len(left) == 0 {
		return nil
	}
	if p.first, err = p.starter.takeOver(left); err != nil {
		return &unstarted{ExitUsage, "cannot listen", oneLine(err), nil}
	}
	p.open.later(readOn(p.first.PID(), p.log).close)
	return nil
}

// look begins to watch.
func (p *preparation) look() (stopped bool, err error) {
	p.seen, stopped, err = firstLook(p.stop, p.config, p.command, p.log)
	if err != nil {
		return false, err
	}
	p.open.later(func() { p.seen.Close() })
	if !stopped {
		sayWatched(p.config, p.seen.Begun(), p.log)
	}
	return stopped, nil
}

// live puts together a life and what it stands on, and begins to answer for it.
func (p *preparation) live() (*life.Life, *unstarted) {
	teller := systemd.New(p.log)
	p.open.later(func() { teller.Close(lastWords) })
	p.keeper = newKeeper(p.config, p.command, p.log)
	world := life.World{Log: p.log, Teller: teller, Host: host{p.keeper}, Disk: disk{p.seen.Watcher}, Memory: newMemory(p.config)}
	if p.starter != nil {
		world.Starter = p.starter
	}
	if asks := newProber(p.config, p.log); asks != nil {
		world.Prober = asks
	}
	l := life.New(p.config.settings(), world, life.Content(p.seen.First()))
	server, err := listen(p.config, answers{l, p.reaper, p.seen.Watcher, p.seen.Resolver}, p.log)
	if err != nil {
		return nil, &unstarted{ExitUsage, "cannot listen", err, whenShared(err)}
	}
	p.open.later(server.Close)
	return l, nil
}

// start starts gunicorn, unless one was adopted.
func (p *preparation) start() (life.Command, *unstarted) {
	if p.adopted != nil {
		p.first = p.adopted.begins(p.command.Pidfile, p.log)
	}
	if p.first != nil {
		return nil, nil
	}
	started, err := start(p.stop, p.command, p.starter, p.reaper, p.log)
	switch {
	case errors.As(err, new(notBegun)):
		return nil, &unstarted{ExitUsage, "cannot begin gunicorn", oneLine(err), nil}
	case err != nil:
		return nil, notRun(p.command.Argv, err)
	}
	return started, nil
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
	o.LeaveOut, o.Kind = slices.Concat(command.pidfiles(), outputs()), c.seldomMeant
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

// outputs are the files that our own log and gunicorn's lines go to: what is said of a
// change is none.
func outputs() (patterns []string) {
	for _, fd := range []int{1, 2} {
		if name, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd)); err == nil && path.IsAbs(name) {
			patterns = append(patterns, watch.Literal(name))
		}
	}
	return patterns
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
	case err == nil && c.Control == "" && !control.Usual(socket.Addr()):
		log.Info("another stablehand of this user runs: the control socket is beside that one's", "control", socket.Addr().String(),
			"do", "to ask this one: "+Prefix+"CONTROL="+socket.Addr().String()+" stablehand status")
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
