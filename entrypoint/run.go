package entrypoint

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"github.com/kballard/go-shellquote"
	"golang.org/x/sys/unix"

	"github.com/stablehand/stablehand/entrypoint/control"
	"github.com/stablehand/stablehand/entrypoint/gunicorn"
	"github.com/stablehand/stablehand/entrypoint/watch"
	"github.com/stablehand/stablehand/reaper"
)

// Exit codes of stablehand's own, as shells and tini have them. Any other is
// the command's.
const (
	ExitFailed        = 1   // stablehand itself could not go on, or does not know how gunicorn ended
	ExitUsage         = 2   // wrong words or environment; nothing was started
	ExitNotExecutable = 126 // the command cannot be run
	ExitNotFound      = 127 // there is no such command
)

// Run runs the command until its end, and returns the code to exit with. It
// is to be called once in a process's life, which it takes over: its signals
// and all its children.
func Run(c Config, command Command, log *slog.Logger) int {
	signals := make(chan os.Signal, 128)
	signal.Notify(signals, catchable(command.Managed && watched() > 0)...)
	defer signal.Stop(signals)
	r, err := reaper.New()
	if err != nil {
		log.Error("cannot look after processes: nothing was started", "reason", err, "serving", 0, "code", ExitFailed)
		return ExitFailed
	}
	defer r.Close()
	if !command.Managed {
		signal.Notify(signals, unix.SIGCHLD) // tells of stops, too
		return runPlain(command, r, signals, log)
	}
	return runManaged(c, command, r, signals, log)
}

// catchable are the signals that somebody may want to send us, without those
// that cannot be caught, SIGURG, which is the Go runtime's own, and SIGCHLD.
//
// A watchdog that has not heard of us sends SIGABRT, which then is the runtime's,
// too, and takes nothing of the loop: it writes what each goroutine does, and ends
// us. gunicorn, to which it would be forwarded, goes on.
func catchable(watched bool) []os.Signal {
	var list []os.Signal
	for n := unix.Signal(1); n <= 64; n++ {
		if n == unix.SIGABRT && watched {
			continue
		}
		switch n {
		case unix.SIGKILL, unix.SIGSTOP, unix.SIGURG, unix.SIGCHLD:
		default:
			list = append(list, n)
		}
	}
	return list
}

func runManaged(c Config, command Command, r *reaper.Reaper, signals <-chan os.Signal, log *slog.Logger) int {
	adopted, err := adopt(command, r)
	if err != nil {
		attrs := []any{"reason", err, "serving", 0, "code", ExitFailed}
		if errors.Is(err, gunicorn.ErrNoMaster) {
			attrs = append(attrs, toDo("remove the file if it is stale; else stop that process, or have --pid name another file")...)
		}
		log.Error("cannot start gunicorn: nothing was started", attrs...)
		return ExitFailed
	}
	if adopted != nil {
		defer readOn(adopted.PID(), log).close()
	}
	w, stopped, err := firstLook(c, log)
	if err != nil {
		log.Error("cannot watch: nothing was started", "reason", err, "serving", 0, "code", ExitFailed)
		return ExitFailed
	}
	defer w.Close()
	if stopped && adopted == nil {
		return stoppedBeforeStart(signals, log)
	}
	l := newLoop(c, r, log)
	l.disk = w.First()
	server, err := listen(c, answers{l, w, c.WatchOptions(log)}, log)
	if err != nil {
		attrs := []any{"reason", err, "serving", 0, "code", ExitUsage}
		if errors.Is(err, control.ErrLives) {
			attrs = append(attrs, toDo("give each its own "+Prefix+"CONTROL")...)
		}
		log.Error("cannot listen: nothing was started", attrs...)
		return ExitUsage
	}
	defer server.Close()
	if adopted != nil {
		log.Info("adopted a running gunicorn", "generation", 1, "pid", adopted.PID(), "pidfile", command.Pidfile)
		l.successor, l.numbered = newGeneration(adopted, 1), 1
		return l.run(signals, w.Changes())
	}
	p, err := start(command, r, log, nil)
	if err != nil {
		return startFailed(err, command, log)
	}
	l.command = &launched{Process: p, Command: command}
	return l.run(signals, w.Changes())
}

// firstLook begins to watch. It comes before gunicorn's own look, so that no
// change is missed. A stop ends it, and is still there for who reads the
// signals; nothing is watched then.
func firstLook(c Config, log *slog.Logger) (w *watch.Watcher, stopped bool, err error) {
	ctx, done := signal.NotifyContext(context.Background(), unix.SIGTERM, unix.SIGINT, unix.SIGQUIT)
	defer done()
	long := time.AfterFunc(longLook, func() { log.Info("reading what is watched, before gunicorn starts") })
	defer long.Stop()
	w, err = watch.New(ctx, c.WatchOptions(log))
	if !errors.Is(err, context.Canceled) {
		return w, false, err
	}
	w, err = watch.New(context.Background(), watch.Options{Log: log})
	return w, true, err
}

// longLook is how long the first look may take without a word.
const longLook = time.Second

// stoppedBeforeStart says which signal it was, and returns the code that the
// command would have ended with.
func stoppedBeforeStart(signals <-chan os.Signal, log *slog.Logger) int {
	for {
		switch sig := (<-signals).(unix.Signal); sig {
		case unix.SIGTERM, unix.SIGINT, unix.SIGQUIT:
			code := 128 + int(sig)
			log.Info("stopped before gunicorn was started", "signal", reaper.SignalName(sig), "code", code)
			return code
		}
	}
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
	case err != nil:
		log.Warn("no control socket: reload, status and healthcheck will find nobody",
			append([]any{"reason", reasons(err)}, toDo("set "+Prefix+"CONTROL to a path in a directory that can be written")...)...)
	}
	var address net.Listener
	if c.HTTP != "" {
		if address, err = net.Listen("tcp", string(c.HTTP)); err != nil {
			control.Serve(a, socket, nil, log).Close()
			return nil, fmt.Errorf("%sHTTP: %w", Prefix, err)
		}
	}
	return control.Serve(a, socket, address, log), nil
}

func adopt(command Command, r *reaper.Reaper) (*gunicorn.Master, error) {
	if command.Pidfile == "" {
		return nil, nil
	}
	return gunicorn.Adopt(r, command.Pidfile)
}

// start starts the command with our own environment and standard files; sys, if
// there is one, says what else is special.
func start(command Command, r *reaper.Reaper, log *slog.Logger, sys *syscall.SysProcAttr) (*reaper.Process, error) {
	log.Info("starting", "words", shellquote.Join(command.Argv...), "managed", command.Managed)
	attr := &syscall.ProcAttr{Env: os.Environ(), Files: []uintptr{0, 1, 2}, Sys: sys}
	if command.Managed {
		attr.Env, attr.Files = inherited()
	}
	return r.Start(command.Argv, attr)
}

// startFailed tells why a command could not be started, and what to exit with.
func startFailed(err error, command Command, log *slog.Logger) int {
	code := ExitNotExecutable
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
		code = ExitNotFound
	}
	log.Error("cannot run the command: nothing was started", "reason", err, "serving", 0, "code", code)
	return code
}
