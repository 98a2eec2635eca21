package entrypoint

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stablehand/stablehand/entrypoint/gunicorn"
	"github.com/stablehand/stablehand/entrypoint/life"
	"github.com/stablehand/stablehand/entrypoint/plain"
	"github.com/stablehand/stablehand/entrypoint/systemd"
	"github.com/stablehand/stablehand/internal/deaf"
	"github.com/stablehand/stablehand/internal/proc"
	"github.com/stablehand/stablehand/reaper"
)

// Exit codes of stablehand's own, as shells and tini have them. Any other is
// the command's.
const (
	ExitFailed        = life.ExitFailed
	ExitUsage         = 2   // wrong words or environment; nothing was started
	ExitNotExecutable = 126 // the command cannot be run
	ExitNotFound      = 127 // there is no such command
)

// Run runs the command until its end, and returns the code to exit with. It
// is to be called once in a process's life, which it takes over: its signals
// and all its children. The signals are not given back: one that comes when all is
// over would make another exit code of gunicorn's.
func Run(c Config, command Command, log *slog.Logger) int {
	signals := make(chan os.Signal, 128)
	signal.Notify(signals, orders...)
	equip := func() {
		signal.Notify(signals, catchable(command.Managed && systemd.WatchdogEvery() > 0)...)
		settle()
	}
	proc.Hold()
	if command.Managed {
		equip()
		moveOn() // after our threads, which have pids, too
	}
	r, err := reaper.New()
	if err != nil {
		return (&unstarted{ExitFailed, "cannot look after processes", err, nil}).say(log)
	}
	defer r.Close()
	if !command.Managed {
		signal.Notify(signals, unix.SIGCHLD) // tells of stops, too
	}
	return unlessStopped(signals, log, func(stop context.Context) next {
		if command.Managed {
			return prepare(stop, c, command, r, log)
		}
		defer equip()
		return begin(command, r, log)
	})
}

// begin starts a command of which we are only the init.
func begin(command Command, r *reaper.Reaper, log *slog.Logger) next {
	starting(command, log)
	p, err := plain.Start(r, command.Argv, log)
	if err != nil {
		return ended(notRun(command.Argv, err).say(log))
	}
	return p.Run
}

// next is what comes once all is prepared: the rest of our life, which takes over
// the signals and returns the code to exit with.
type next func(signals <-chan os.Signal) int

// ended is what comes where nothing does any more.
func ended(code int) next { return func(<-chan os.Signal) int { return code } }

// unlessStopped prepares, and does what comes next. A stop is told to prepare, and
// is still there for whoever reads the signals. Where what is prepared hangs all
// the same, at a program or a directory whose file system does not answer, the
// stop is the end.
func unlessStopped(signals <-chan os.Signal, log *slog.Logger, prepare func(stop context.Context) next) int {
	stop, done := signal.NotifyContext(context.Background(), unix.SIGTERM, unix.SIGINT, unix.SIGQUIT)
	defer done()
	prepared := make(chan next, 1)
	go func() { deaf.Call(func() { prepared <- prepare(stop) }) }()
	var late <-chan time.Time
	for told := stop.Done(); ; {
		select {
		case next := <-prepared:
			done()
			return next(signals)
		case <-told:
			told, late = nil, time.After(stopPatience)
		case <-late:
			return stoppedBeforeStart(signals, log)
		}
	}
}

// stopPatience is how long what is prepared may take to come to its end once we
// have been told to stop: a start, say, that is all but there.
const stopPatience = 5 * time.Second

// orders are the signals by which somebody may order something as soon as we are there.
// With each that it is told to catch Go's runtime wakes another thread, and waits for it:
// all of them would take it a millisecond or two.
var orders = []os.Signal{unix.SIGTERM, unix.SIGINT, unix.SIGQUIT, unix.SIGHUP, unix.SIGUSR1, unix.SIGUSR2}

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

// stoppedBeforeStart says which signal it was, and returns the code that the
// command would have ended with.
func stoppedBeforeStart(signals <-chan os.Signal, log *slog.Logger) int {
	for {
		switch sig := (<-signals).(unix.Signal); sig {
		case unix.SIGTERM, unix.SIGINT, unix.SIGQUIT:
			code := 128 + int(sig)
			log.Info("stopped before the command was started", "signal", reaper.SignalName(sig), "code", code)
			return code
		}
	}
}

func starting(command Command, log *slog.Logger) {
	log.Info("starting", "words", Shown(command.Argv), "managed", command.Managed)
	if do := command.whenAnother(); do != "" {
		log.Warn("handoffs are gunicorn's alone: this command gets none", "do", do)
	}
}

// start starts a managed command with our own environment and standard files, but
// for what is a service manager's: to tell that we are ready is ours. The sockets
// that it has opened are gunicorn's, unless there is a starter, which begins it then.
func start(ctx context.Context, c Command, starter *afresh, r *reaper.Reaper, log *slog.Logger) (*command, error) {
	starting(c, log)
	if starter != nil {
		return starter.begin(ctx)
	}
	env, files := systemd.Environ(os.Environ()), []uintptr{0, 1, 2}
	if sockets := systemd.Sockets(); len(sockets) > 0 {
		env = gunicorn.Inherit(env, sockets)
		for _, fd := range sockets {
			files = append(files, uintptr(fd))
		}
	}
	env = gunicorn.Mark(env, c.Argv)
	p, err := r.Start(c.Argv, &syscall.ProcAttr{Env: env, Files: files, Sys: ownGroup()})
	if err != nil {
		return nil, err
	}
	return newCommand(p, c, r, log), nil
}

// ownGroup gives a managed command a process group of its own, so that what is sent to
// ours reaches us alone: an init above, such as dumb-init, sends each signal to the whole
// group, and HUP would reload gunicorn beside the handoff, TERM end it in spite of
// STOP_DELAY. On a terminal it stays in ours, which is the one that may read there.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: !onTerminal()} }

// onTerminal says whether we have a controlling terminal.
func onTerminal() bool {
	tty, err := unix.Open("/dev/tty", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	unix.Close(tty)
	return true
}

// notRun is why a command could not be started.
func notRun(argv []string, err error) *unstarted {
	r := &unstarted{ExitNotExecutable, "cannot run the command", err, nil}
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
		r.code = ExitNotFound
	}
	if do := whenNotRun(argv, err); do != "" {
		r.do = []any{"do", do}
	}
	return r
}
