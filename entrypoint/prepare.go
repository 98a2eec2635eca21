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

	"github.com/stablehand/stablehand/entrypoint/control"
	"github.com/stablehand/stablehand/entrypoint/life"
	"github.com/stablehand/stablehand/entrypoint/systemd"
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
	left, ending, err := findLeftOver(p.stop, p.config, p.command, p.reaper, p.log)
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
	if p.first, err = p.starter.takeOver(left, ending); err != nil {
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

// whenTaken is what to do about an address that another stablehand has.
func whenTaken(err error) []any {
	if !errors.Is(err, errTaken) {
		return nil
	}
	return []any{"do", "stop that one, or set another " + Prefix + "BIND"}
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
