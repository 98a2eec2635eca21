package entrypoint

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// notify tells the service manager that has started us how we fare, if it wants
// to be told: sd_notify(3), to NOTIFY_SOCKET.
func (l *loop) notify(state ...string) {
	if _, err := daemon.SdNotify(false, strings.Join(state, "\n")); err != nil {
		l.log.Debug("cannot tell the service manager", "reason", err)
	}
}

func (l *loop) notifyReady(status string) {
	if !l.stopping {
		l.notify(daemon.SdNotifyReady, "STATUS="+status)
	}
}

// notifyHandoff tells of a handoff under way, in the step that it has come to.
// To systemd it is a reload, which ends with the next notifyReady.
func (l *loop) notifyHandoff() {
	if l.stopping {
		return
	}
	status := fmt.Sprintf("STATUS=Handing off to generation %d (%s): %s", l.now.Generation, l.now.Reason, l.step.name)
	if len(l.now.Steps) > 0 {
		l.notify(status)
		return
	}
	l.notify(daemon.SdNotifyReloading, strings.TrimSpace(daemon.SdNotifyMonotonicUsec()), status)
}

func (l *loop) notifyStopping(signal string) {
	l.notify(daemon.SdNotifyStopping, "STATUS=Stopping: "+signal)
}

// standing is who serves, in words.
func (l *loop) standing() string {
	return fmt.Sprintf("Serving generation %d with %d workers", l.serving.number, l.serving.Workers().All)
}

// watched is how often the service manager wants to hear of us; 0 if it does not.
func watched() time.Duration {
	every, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		return 0
	}
	return every
}

// watchdog ticks where the service manager wants to hear of us every so often,
// twice as often as it does.
func watchdog() <-chan time.Time {
	every := watched()
	if every == 0 {
		return nil
	}
	return time.Tick(every / 2)
}

// inherited is what a managed command gets of what a service manager gave us:
// not the socket at which the manager listens, since readiness is ours to tell,
// but the sockets that the manager has opened (sd_listen_fds(3)).
//
// gunicorn takes those from LISTEN_FDS, too, but closes the numbers that they
// came by, and so its successor finds nothing there (seen on 20.1.0 to 27.0.1).
// As from an old master, in GUNICORN_FD, it takes them and hands them on. It is
// promoted at once, since nobody's parent is -1.
func inherited() (env []string, files []uintptr) {
	env = slices.DeleteFunc(os.Environ(), func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		return slices.Contains([]string{"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"}, name)
	})
	files = []uintptr{0, 1, 2}
	sockets, err := strconv.Atoi(os.Getenv("LISTEN_FDS"))
	if err != nil || sockets <= 0 || os.Getenv("LISTEN_PID") != strconv.Itoa(os.Getpid()) {
		return env, files
	}
	var numbers []string
	for range sockets {
		numbers = append(numbers, strconv.Itoa(len(files)))
		files = append(files, uintptr(len(files)))
	}
	return append(env, "GUNICORN_PID=-1", "GUNICORN_FD="+strings.Join(numbers, ",")), files
}
