package gunicorn

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// FirstSocket is the number of the first descriptor of those that a command is given
// with its sockets, each by the next number: they come after the standard files.
const FirstSocket = 3

// socketsVariable has the descriptors of the sockets that gunicorn is to take over.
const socketsVariable = "GUNICORN_FD"

// Inherit is an environment with which gunicorn takes over listening sockets
// that are open in it as these descriptors, and hands them on to its successors.
// Where there are none it is what it was.
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
	return InheritFrom(env, -1, descriptors)
}

// InheritFrom is an environment with which gunicorn takes over listening sockets from
// a parent that it believes to be the master before it. As long as that lives it is not
// promoted: it takes no USR2, and leaves the path of a unix socket alone.
func InheritFrom(env []string, parent int, descriptors []int) []string {
	others := slices.DeleteFunc(slices.Clone(env), func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		return name == parentVariable || name == socketsVariable || name == MarkVariable
	})
	var numbers []string
	for _, fd := range descriptors {
		numbers = append(numbers, strconv.Itoa(fd))
	}
	return append(others, fmt.Sprintf("%s=%d", parentVariable, parent), socketsVariable+"="+strings.Join(numbers, ","))
}
