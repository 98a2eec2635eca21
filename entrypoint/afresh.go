package entrypoint

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/stablehand/stablehand/entrypoint/gunicorn"
	"github.com/stablehand/stablehand/entrypoint/life"
	"github.com/stablehand/stablehand/entrypoint/sockets"
	"github.com/stablehand/stablehand/entrypoint/systemd"
	"github.com/stablehand/stablehand/internal/deaf"
	"github.com/stablehand/stablehand/internal/proc"
	"github.com/stablehand/stablehand/internal/small"
	"github.com/stablehand/stablehand/reaper"
)

// afresh begins generations of a command whose sockets are ours (BIND): each as the
// command was begun, with the environment as it is now, and a listener of its own.
type afresh struct {
	config  Config
	command Command
	sockets *sockets.Sockets
	dir     string // in which each begins, by its name: it may be another one then
	reaper  *reaper.Reaper
	log     *slog.Logger
	self    proc.Info
	is      string                          // what stands for the command, see gunicorn.Identity
	left    bool                            // others serve already, see leftOver
	begun   atomic.Int64                    // generations so far
	ready   atomic.Pointer[gunicorn.Master] // the last one that was
}

// newAfresh has the sockets opened, beside those that were left over. It is nil where
// they are gunicorn's.
func newAfresh(c Config, command Command, left leftOver, r *reaper.Reaper, log *slog.Logger) (*afresh, error) {
	if len(c.Bind) == 0 {
		return nil, nil
	}
	opened, err := openSockets(c, left)
	if err != nil {
		return nil, err
	}
	if why := opened.Unsteered(); why != nil {
		log.Warn("new connections cannot be steered: all generations accept from one socket", "reason", why)
	}
	if command.Binds != "" {
		log.Warn("gunicorn ignores what its words say of where it listens: BIND does", "words", command.Binds)
	}
	dir, err := os.Getwd()
	if err != nil {
		dir = "" // we are nowhere: each begins where we are
	}
	self, err := proc.Stat(os.Getpid())
	return &afresh{config: c, command: command, sockets: opened, dir: dir, reaper: r, log: log, self: self,
		is: command.identity().Command(), left: len(left) > 0}, err
}

// openSockets opens those that BIND names, unless a service manager has.
func openSockets(c Config, left leftOver) (*sockets.Sockets, error) {
	if inherited := systemd.Sockets(); len(inherited) > 0 {
		return sockets.Inherit(inherited, left.inodes()...)
	}
	return sockets.Open(c.Bind, left.inodes()...)
}

// close closes all that is left of the sockets. It waits as long as a file system may
// take.
func (a *afresh) close() {
	if a == nil {
		return
	}
	if err := inTime(a.sockets.Close); err != nil {
		a.log.Warn("cannot close what BIND has opened in good order", "reason", oneLine(err))
	}
}

// closeLimit is how long a file system may take to forget a socket.
const closeLimit = 2 * time.Second

// inTime does what may wait for a file system, and waits no longer than closeLimit.
func inTime(f func() error) error {
	done := make(chan error, 1)
	go deaf.Call(func() { done <- f() })
	select {
	case err := <-done:
		return err
	case <-time.After(closeLimit):
		return small.ErrHangs
	}
}

// begin starts the command for another generation. ctx is for reading its environment.
func (a *afresh) begin(ctx context.Context) (*command, error) {
	env, err := a.environ(ctx)
	if before := a.ready.Load(); err == nil && before != nil {
		err = gunicorn.Room(os.Getpid(), before.Workers().All)
	}
	if err != nil {
		return nil, notBegun{err}
	}
	attr := &syscall.ProcAttr{Dir: a.dir, Env: env, Sys: ownGroup()}
	if program, err := reaper.Program(a.command.Argv[0], attr); err == nil { // else Start says why not
		if err := gunicorn.Answers(ctx, a.dir, program); err != nil {
			return nil, notBegun{err}
		}
	}
	listener, err := a.sockets.Add()
	if err != nil {
		return nil, notBegun{err}
	}
	number := a.begun.Add(1)
	if number == 1 && !a.left {
		err = a.sockets.Steer(listener) // who comes waits there, as at gunicorn's own
	}
	if err == nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return nil, notBegun{errors.Join(err, listener.Close())}
	}
	mark := a.mark(int(number))
	p, err := a.start(attr, listener, mark)
	if err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	c := newCommand(p, a.command, a.reaper, a.log)
	c.from, c.mark, c.listener = a, mark, listener
	return c, nil
}

// notBegun is why no command was started: something that comes before.
type notBegun struct{ error }

func (n notBegun) Unwrap() error { return n.error }

// start starts the command with the sockets of a listener, and a mark in its environment
// and, where there can be one, as a descriptor.
func (a *afresh) start(attr *syscall.ProcAttr, listener *sockets.Listener, mark string) (*reaper.Process, error) {
	attr.Files = []uintptr{0, 1, 2}
	var numbers []int
	for i, fd := range listener.Descriptors() {
		numbers = append(numbers, gunicorn.FirstSocket+i)
		attr.Files = append(attr.Files, uintptr(fd))
	}
	if f, err := gunicorn.OpenMark(mark); err == nil {
		defer f.Close()
		attr.Files = append(attr.Files, f.Fd())
	}
	attr.Env = gunicorn.Marked(gunicorn.InheritFrom(attr.Env, os.Getpid(), numbers), mark)
	return a.reaper.Start(a.command.Argv, attr)
}

// mark marks all that is of a generation.
func (a *afresh) mark(number int) string {
	by := gunicorn.Kept{PID: a.self.PID, Started: a.self.Started}
	return gunicorn.Begun{By: by, Number: number, Namespace: gunicorn.PIDNamespace(), Command: a.is, Addresses: a.config.addresses()}.String()
}

// environ is the environment of the next generation.
func (a *afresh) environ(ctx context.Context) ([]string, error) {
	env, err := a.config.Environ(ctx)
	if err != nil {
		return nil, err
	}
	args := gunicorn.CmdArgs(a.command.Argv, GunicornArgs(env))
	if err := refuse(gunicorn.ReadWords(a.command.Argv, args), a.config); err != nil {
		return nil, err
	}
	return systemd.WithoutSockets(systemd.Environ(env)), nil
}

// beginGrace is how long a command may take to end that has not become a gunicorn.
const beginGrace = 10 * time.Second

// Start begins another generation. What it is begun from may be on a file system that
// does not answer: should that come back when nobody waits any more, it is ended.
func (a *afresh) Start(ctx context.Context) (life.Generation, error) {
	type begun struct {
		*command
		err error
	}
	started := make(chan begun, 1)
	go func() {
		c, err := a.begin(ctx)
		started <- begun{c, err}
	}()
	select {
	case c := <-started:
		if c.err != nil {
			return nil, c.err
		}
		found := make(chan struct{})
		go c.lookOn(found)
		g, err := c.Find(ctx)
		close(found)
		if err != nil {
			return nil, errors.Join(err, c.end(beginGrace))
		}
		return g, nil
	case <-ctx.Done():
		go func() {
			if c := <-started; c.err == nil {
				_ = c.end(0) // the end of all sees to what is left
			}
		}()
		return nil, context.Cause(ctx)
	}
}

// end ends a command that has not become a gunicorn, with a grace above 0 by TERM first.
func (c *command) end(grace time.Duration) error {
	ending, cancel := context.WithTimeout(context.Background(), 2*beginGrace)
	defer cancel()
	return errors.Join(proc.Terminate(ending, c.processes, grace), c.listener.Close())
}

// processes lists all that is of the command's generation, while no master is known: its
// tree, what was in that before, and what has its mark.
func (c *command) processes() ([]proc.Info, error) {
	list, err := proc.Descendants(os.Getpid())
	var marked []proc.Info
	for _, info := range list {
		if value, err := proc.Environ(info.PID, gunicorn.MarkVariable); err == nil && value == c.mark {
			marked = append(marked, info)
		}
	}
	c.seeing.Lock()
	defer c.seeing.Unlock()
	var tree []proc.Info
	if !c.Dead() {
		more, err2 := proc.Tree(c.PID())
		tree, err = more, errors.Join(err, err2)
	}
	before, err3 := proc.Living(c.seen)
	c.seen = proc.Merge(tree, before, marked)
	return slices.Clone(c.seen), errors.Join(err, err3)
}

// lookOn keeps in mind what the command has started, until it is told to stop: what a
// script leaves behind may hide its environment from us, as another user's.
func (c *command) lookOn(stop <-chan struct{}) {
	for {
		_, _ = c.processes() // end says what cannot be listed
		select {
		case <-time.After(lookOnEvery):
		case <-stop:
			return
		}
	}
}

const lookOnEvery = 100 * time.Millisecond

// listens are the sockets that were opened for it, and for no other generation.
func (c *command) listens() (targets []string) {
	if c.listener == nil || c.from.sockets.Unsteered() != nil {
		return nil
	}
	for _, inode := range c.listener.Inodes() {
		targets = append(targets, proc.Socket(inode))
	}
	return targets
}

// oneLine is one line of what may be several errors.
func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }
