package systemd

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"
)

// WatchdogEvery is how often the manager wants to hear of us at least, or it
// takes us for dead; 0 where it does not. systemd advises to say so twice as
// often.
func WatchdogEvery() time.Duration {
	every, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		return 0
	}
	return every
}

// firstSocket is SD_LISTEN_FDS_START of sd_listen_fds(3).
const firstSocket = 3

// Sockets are the descriptors of the sockets that the manager has opened for us,
// in its order. None are there where they were meant for another process.
func Sockets() []int {
	if os.Getenv("LISTEN_PID") != strconv.Itoa(os.Getpid()) {
		return nil
	}
	count, _ := strconv.Atoi(os.Getenv("LISTEN_FDS"))
	var sockets []int
	for fd := firstSocket; fd < firstSocket+count; fd++ {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil {
			break // the number is wrong
		}
		sockets = append(sockets, fd)
	}
	return sockets
}

// WithoutSockets is an environment without word of the sockets that the manager has
// opened, for one who gets them otherwise.
func WithoutSockets(env []string) []string {
	return without(env, "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES")
}

// Environ is an environment without what is for us alone: readiness is ours to
// tell, and it is us whom the watchdog wants to hear of.
func Environ(env []string) []string {
	return without(env, "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
}

func without(env []string, names ...string) []string {
	return slices.DeleteFunc(slices.Clone(env), func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		return slices.Contains(names, name)
	})
}
