package entrypoint

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stablehand/stablehand/entrypoint/gunicorn"
	"github.com/stablehand/stablehand/entrypoint/life"
	"github.com/stablehand/stablehand/entrypoint/sockets"
	"github.com/stablehand/stablehand/entrypoint/status"
	"github.com/stablehand/stablehand/entrypoint/watch"
	"github.com/stablehand/stablehand/internal/proc"
	"github.com/stablehand/stablehand/reaper"
)

// masterOf is the master of a generation.
func masterOf(g life.Generation) *gunicorn.Master {
	if g, ok := g.(separate); ok {
		return g.Master
	}
	return g.(master).Master
}

// master is a gunicorn master as package life needs it.
type master struct{ *gunicorn.Master }

func (m master) Exit() life.Exit { return m.Status() }

func (m master) Ended() error { return &gunicorn.ExitError{PID: m.PID(), Status: m.Status()} }

func (m master) Signal(sig life.Signal) error { return ifAlive(m.Master.Signal(number(sig))) }

func (m master) Finish(ctx context.Context) error { return ifAlive(m.Master.Finish(ctx)) }

func (m master) Deliver(ctx context.Context, sig life.Signal) error {
	return ifAlive(m.Master.Deliver(ctx, number(sig)))
}

func (m master) More(ctx context.Context) error { return m.Deliver(ctx, life.TTIN) }

func (m master) Less(ctx context.Context) error { return m.Deliver(ctx, life.TTOU) }

func (m master) Hurry(sig life.Signal, report func(error)) {
	go func() {
		if err := ifAlive(m.Master.Hurry(number(sig))); err != nil {
			report(err)
		}
	}()
}

func (m master) Ready(ctx context.Context, hint int, report func(status.Workers)) error {
	return m.Master.Ready(ctx, hint, func(w gunicorn.Workers) { report(status.Workers(w)) })
}

func (m master) Spawn(ctx context.Context) (next life.Generation, ours bool, err error) {
	successor, ours, err := m.Master.Spawn(ctx)
	if err != nil {
		return nil, false, err
	}
	return master{successor}, ours, nil
}

func (m master) Listener() life.Listener { return nil }

func (m master) Successor() life.Generation {
	if next := m.Master.Successor(); next != nil {
		return master{next}
	}
	return nil
}

func (m master) Late(ctx context.Context) (life.Generation, error) {
	successor, err := m.Master.Late(ctx)
	if err != nil || successor == nil {
		return nil, err
	}
	return master{successor}, nil
}

func (m master) Workers() status.Workers { return status.Workers(m.Master.Workers()) }

func (m master) Spent() bool { return m.Master.Spent() }

func (m master) Note() { _, _ = m.Processes() } // Clear says what could not be listed

func (m master) Clear(ctx context.Context, grace time.Duration) error {
	return proc.Terminate(ctx, m.Processes, grace)
}

// ifAlive is an error unless it means that the process has ended.
func ifAlive(err error) error {
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

// command is what the container was started with as package life needs it.
type command struct {
	*reaper.Process
	Command
	reaper *reaper.Reaper
	log    *slog.Logger
	orders chan func() // signals to be sent, in their order, by order

	from     *afresh // that has begun it; nil where the sockets are gunicorn's
	listener *sockets.Listener
	mark     string

	seeing sync.Mutex
	seen   []proc.Info // see processes
}

// maxOrders is how many signals may wait for the process table to be read.
const maxOrders = 128

func newCommand(p *reaper.Process, c Command, r *reaper.Reaper, log *slog.Logger) *command {
	started := &command{Process: p, Command: c, reaper: r, log: log, orders: make(chan func(), maxOrders)}
	go func() {
		for {
			select {
			case order := <-started.orders:
				order()
			case <-p.Done():
				return // and nobody is there to be told
			}
		}
	}()
	return started
}

func (c *command) Exit() life.Exit { return c.Status() }

func (c *command) Named() bool { return c.Command.Named }

func (c *command) Signal(sig life.Signal, report func(error)) {
	order := func() {
		if c.Dead() {
			return // its pid may be another's by now
		}
		tree, err := proc.Tree(c.PID())
		if err = errors.Join(err, proc.Kill(tree, number(sig))); err != nil {
			report(err)
		}
	}
	select {
	case c.orders <- order:
	default:
		report(errors.New("too many signals wait to be sent"))
	}
}

func (c *command) Find(ctx context.Context) (life.Generation, error) {
	m, err := gunicorn.Find(ctx, c.reaper, c.Process, gunicorn.Origin{Argv: c.Argv, Pidfile: c.Pidfile, Mark: c.mark, Sockets: c.listens()})
	if err != nil {
		return nil, err
	}
	if c.from != nil {
		return separate{master{m}, c.from, c.listener}, nil
	}
	warn(m, 1, c.log)
	return master{m}, nil
}

// warn says what the first handoff of a gunicorn will come to, as far as that is
// known before.
func warn(m *gunicorn.Master, number int, log *slog.Logger) {
	say(log, "no handoff is possible", m, number, m.Hindrance())
	say(log, "a handoff may fail", m, number, m.Doubt())
}

// say says why something is of a master's generation, if there is a reason.
func say(log *slog.Logger, text string, m *gunicorn.Master, number int, why error) {
	var advised interface{ Advice(lines string) string }
	if errors.As(why, &advised) {
		log.Warn(text, "generation", number, "pid", m.PID(), "reason", why, "do", advised.Advice(""))
	}
}

func (c *command) Daemonised() bool { return gunicorn.Daemonised() }

// Twin finds none where a pidfile would have had it adopted.
func (c *command) Twin() int {
	if c.Pidfile != "" {
		return 0
	}
	return gunicorn.Twin(c.Argv)
}

// host is every process below us, and what generations have that is not.
type host struct{ keeper *keeper }

func (host) Clear(ctx context.Context, generations []life.Generation, wait, grace time.Duration, begin func(int)) error {
	left := func() ([]proc.Info, error) {
		list, err := proc.Descendants(os.Getpid())
		for _, g := range generations {
			more, err2 := masterOf(g).Processes()
			list, err = proc.Merge(list, more), errors.Join(err, err2)
		}
		return list, err
	}
	if wait > 0 && proc.Gone(ctx, left, wait) {
		return nil
	}
	list, err := left()
	if err == nil && len(list) == 0 {
		return nil
	}
	begin(len(list))
	return proc.Terminate(ctx, left, grace)
}

func (h host) Keep(g life.Generation, content life.Content) {
	h.keeper.keep(masterOf(g).Process, content)
}

func (host) Strays(generations []life.Generation) ([]status.Stray, error) {
	var known []*gunicorn.Master
	for _, g := range generations {
		known = append(known, masterOf(g))
	}
	found, err := gunicorn.Strays(known)
	var strays []status.Stray
	for _, s := range found {
		is := status.StrayBeside
		switch {
		case s.Of != 0:
			is = status.StraySuccessor
		case s.Inside:
			is = status.StrayInside
		case s.Below:
			is = status.StrayBelow
		}
		strays = append(strays, status.Stray{PID: s.PID, Words: Shown(s.Words), Is: is})
	}
	return strays, err
}

func (host) Suspend() { _ = unix.Kill(unix.Getpid(), unix.SIGSTOP) } // everybody may signal themselves

// disk is what is watched as package life needs it.
type disk struct{ *watch.Watcher }

func (d disk) Rest(ctx context.Context) (life.Content, uint64, error) {
	content, moves, err := d.Watcher.Rest(ctx)
	return life.Content(content), moves, err
}

func (d disk) Written(since time.Time) (files []life.Written) {
	for _, f := range d.Watcher.Written(since) {
		files = append(files, life.Written{Path: f.Path, Came: f.Came, In: f.In})
	}
	return files
}

// called is a signal as package life calls it.
func called(sig os.Signal) life.Signal { return life.Signal(reaper.SignalName(sig.(unix.Signal))) }

// number is the signal that package life means.
func number(sig life.Signal) unix.Signal {
	if strings.HasPrefix(string(sig), "SIG") {
		return unix.SignalNum(string(sig))
	}
	var n int
	_, _ = fmt.Sscanf(string(sig), "signal %d", &n) // as SignalName writes it; else 0, which is none
	return unix.Signal(n)
}
