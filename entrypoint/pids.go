package entrypoint

import (
	"math/rand/v2"
	"os"
	"syscall"
)

const (
	// young is a pid that only a process has which was there when its PID namespace
	// began, or soon after.
	young = 32

	// apart is how many pids lie between ours and gunicorn's, at least, and at most
	// twice as many. Each takes the time of a fork.
	apart = 48
)

// moveOn uses up pids, in a namespace that has just begun, so that gunicorn gets
// one that is none of our threads' when the container is started again, and seldom
// another process's. A pidfile that its configuration names, and that we do not
// know of, outlives a container that was killed; gunicorn does not start where the
// pid in it is somebody's, whoever that is, and those of our threads are among the
// first. Where nothing can be forked nothing is used up.
func moveOn() {
	if os.Getpid() > young {
		return
	}
	for range apart + rand.N(apart) {
		if _, err := syscall.ForkExec("/", []string{"/"}, new(syscall.ProcAttr)); err != syscall.EACCES {
			return // no directory can be run
		}
	}
}
