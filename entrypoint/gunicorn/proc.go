package gunicorn

import (
	"errors"
	"io/fs"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/stablehand/stablehand/internal/pattern"
	"github.com/stablehand/stablehand/internal/proc"
)

// python is an interpreter's name, such as python3.11 or pypy3.
var python = pattern.New(`^(python|pypy)[0-9.]*$`)

// program is gunicorn's script, or the file of its module, which a "python -m
// gunicorn" names when it has reexeced itself.
var program = pattern.New(`(^|/)gunicorn(/__main__\.py|/app/wsgiapp\.py)?$`)

// runs says whether a process's own program is gunicorn: not a shell, a
// wrapper or an environment that is about to run it.
func runs(pid int) (bool, error) {
	argv, err := proc.Cmdline(pid)
	return isGunicorn(argv), err
}

// isGunicorn is runs of a command line.
func isGunicorn(argv []string) bool {
	_, is, _ := readLine(argv)
	return is
}

// readLine reads the command line of a process: whether its own program is
// gunicorn, and the words that came after its name. These are not known where it
// is titled, as by setproctitle: "gunicorn: master [app:app]".
func readLine(argv []string) (words []string, is, titled bool) {
	if len(argv) == 0 {
		return nil, false, false
	}
	if titled := strings.HasPrefix(argv[0], "gunicorn: "); titled || strings.HasPrefix(path.Base(argv[0]), "gunicorn") {
		return argv[1:], true, titled
	}
	if !python().MatchString(path.Base(argv[0])) {
		return nil, false, false
	}
	if name, at := moduleOf(argv[1:]); name != "" {
		return argv[at+2:], name == "gunicorn" || name == wsgiapp, false
	}
	for words := argv[1:]; len(words) > 0; words = words[1:] {
		switch word := words[0]; {
		case word == "-W", word == "-X":
			words = words[1:] // and its value
		case !strings.HasPrefix(word, "-"):
			return words[1:], program().MatchString(word), false
		}
	}
	return nil, false, false
}

// parentMaster is the pid in a process's GUNICORN_PID: the old master, for
// every process of its successor. It is 0 where there is none.
func parentMaster(pid int) (int, error) {
	value, err := proc.Environ(pid, parentVariable)
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(value)
	if err != nil {
		return 0, nil // not set, or to something that is no pid
	}
	return n, nil
}

// handles says whether a process has installed a handler for sig. Where that
// cannot be read it is not known to have, and no signal is sent to it yet.
func handles(pid int, sig unix.Signal) bool {
	caught, err := proc.Catches(pid, sig)
	return err == nil && caught
}

// heartbeat is one worker's temporary file, as its master holds it.
type heartbeat struct {
	inode  uint64
	made   unix.Timespec // when the file was, as long as the worker has not beaten
	beaten bool          // the worker has entered its loop
}

// heartbeats lists those that a process holds open: a master one for each of
// its workers, a worker its own. Where we may not look, the error is
// fs.ErrPermission.
func heartbeats(pid int) ([]heartbeat, error) {
	var none beats
	return none.look(pid)
}

// beats are the files of workers that have beaten, for who looks at them again and again:
// that they have is so for ever. A file's name is random, and nobody else's.
type beats map[proc.Descriptor]heartbeat

// look is heartbeats.
func (b *beats) look(pid int) ([]heartbeat, error) {
	descriptors, err := proc.Descriptors(pid)
	if err != nil {
		return nil, err
	}
	known := *b
	*b = make(beats, len(known))
	var all []heartbeat
	for _, d := range descriptors {
		if !strings.HasPrefix(path.Base(d.Target), "wgunicorn-") {
			continue
		}
		beat, is := known[d]
		if !is {
			beat, err = readHeartbeat(d)
		}
		if err == unix.ENOENT {
			continue // closed meanwhile: its worker has gone
		}
		if err != nil {
			return nil, err
		}
		if beat.beaten {
			(*b)[d] = beat
		}
		all = append(all, beat)
	}
	return all, nil
}

func readHeartbeat(d proc.Descriptor) (heartbeat, error) {
	var st unix.Stat_t
	err := unix.Stat(d.Link, &st)
	return heartbeat{inode: st.Ino, made: st.Mtim, beaten: beaten(&st)}, err
}

// beaten tells a worker's file that has been touched from one that has not.
// gunicorn 20.1 makes its mode 0 or 1, later versions set its time of change
// to a clock that counts from the boot: a date in 1970, while the time of the
// inode's change is today's.
func beaten(st *unix.Stat_t) bool {
	const day = 24 * 60 * 60
	return st.Mode&0o777 != 0o600 || st.Ctim.Sec-st.Mtim.Sec > day
}

// findMaster is the gunicorn master in the tree of a process, itself included:
// the topmost process that holds worker heartbeat files. Before there are any,
// it is the topmost one that runs gunicorn's own program. To look into each
// process's descriptors would take long, and only one that has children can be
// a master with workers.
func findMaster(root int) (pid int, ok bool, err error) {
	pid, ok, err = proc.Topmost(root, func(pid int, children []int) (bool, error) {
		if len(children) == 0 {
			return false, nil
		}
		beats, err := heartbeats(pid)
		if errors.Is(err, fs.ErrPermission) {
			err = nil // then what it runs decides
		}
		return len(beats) > 0, err
	})
	if ok || err != nil {
		return pid, ok, err
	}
	return proc.Topmost(root, func(pid int, _ []int) (bool, error) { return runs(pid) })
}
