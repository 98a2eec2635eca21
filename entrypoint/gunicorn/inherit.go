package gunicorn

import (
	"slices"
	"strconv"
	"strings"
)

// Inherit is an environment with which gunicorn takes over listening sockets
// that are open in it as these descriptors, and hands them on to its successors.
//
// It is for those that a service manager has opened (sd_listen_fds(3)). gunicorn
// takes them from LISTEN_FDS, too, but closes the numbers that they came by, and
// so its successor finds nothing there (seen on 20.1.0 to 27.0.1). As from an old
// master, in GUNICORN_FD, it takes them and hands them on. It reads that where
// GUNICORN_PID is set, and is promoted at once where that is -1, which is nobody's
// parent.
func Inherit(env []string, descriptors []int) []string {
	if len(descriptors) == 0 {
		return env
	}
	others := slices.DeleteFunc(slices.Clone(env), func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		return name == "GUNICORN_PID" || name == "GUNICORN_FD"
	})
	var numbers []string
	for _, fd := range descriptors {
		numbers = append(numbers, strconv.Itoa(fd))
	}
	return append(others, "GUNICORN_PID=-1", "GUNICORN_FD="+strings.Join(numbers, ","))
}
