package gunicorn

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/stablehand/stablehand/reaper"
)

// cmdline is a process's command line, empty for one that has none or is gone.
func cmdline(pid int) []string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil || len(b) == 0 {
		return nil
	}
	return strings.Split(strings.TrimRight(string(b), "\x00"), "\x00")
}

// python is an interpreter's name, such as python3.11 or pypy3.
var python = regexp.MustCompile(`^(python|pypy)[0-9.]*$`)

// program is gunicorn's script, or the file of its module, which a "python -m
// gunicorn" names when it has reexeced itself.
var program = regexp.MustCompile(`(^|/)gunicorn(/__main__\.py|/app/wsgiapp\.py)?$`)

// runs says whether a process's own program is gunicorn: not a shell, a
// wrapper or an environment that is about to run it.
func runs(pid int) bool {
	argv := cmdline(pid)
	if len(argv) == 0 {
		return false
	}
	if strings.HasPrefix(path.Base(argv[0]), "gunicorn") {
		return true // as setproctitle shows it: "gunicorn: master [app:app]"
	}
	if !python.MatchString(path.Base(argv[0])) {
		return false
	}
	for words := argv[1:]; len(words) > 0; words = words[1:] {
		switch word := words[0]; {
		case word == "-m":
			return len(words) > 1 && (words[1] == "gunicorn" || words[1] == "gunicorn.app.wsgiapp")
		case word == "-W", word == "-X":
			words = words[1:] // and its value
		case !strings.HasPrefix(word, "-"):
			return program.MatchString(word)
		}
	}
	return false
}

// environ reads one variable of the environment that a process was started
// with: a process that changes its environment later does not show it. Where
// we may not read it, the error is fs.ErrPermission.
func environ(pid int, name string) (value string, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil {
		return "", err
	}
	for entry := range bytes.SplitSeq(b, []byte{0}) {
		if key, value, ok := strings.Cut(string(entry), "="); ok && key == name {
			return value, nil
		}
	}
	return "", nil
}

// parentMaster is the pid in a process's GUNICORN_PID: the old master, for
// every process of its successor. It is 0 where there is none.
func parentMaster(pid int) (int, error) {
	value, err := environ(pid, "GUNICORN_PID")
	if err != nil {
		return 0, err
	}
	n, _ := strconv.Atoi(value)
	return n, nil
}

// status returns a number of /proc/PID/status, which everyone may read.
func status(pid int, field string, base int) (uint64, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), field+":"); ok {
			return strconv.ParseUint(strings.TrimSpace(value), base, 64)
		}
	}
	return 0, fmt.Errorf("/proc/%d/status has no %s", pid, field)
}

// handles says whether a process has installed a handler for sig.
func handles(pid int, sig unix.Signal) bool {
	caught, err := status(pid, "SigCgt", 16)
	return err == nil && caught&(1<<(sig-1)) != 0
}

// heartbeat is one worker's temporary file, as its master holds it.
type heartbeat struct {
	inode  uint64
	beaten bool // the worker has entered its loop
}

// heartbeats lists those that a process holds open: a master one for each of
// its workers, a worker its own. Where we may not look, the error is
// fs.ErrPermission.
func heartbeats(pid int) ([]heartbeat, error) {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var beats []heartbeat
	for _, entry := range entries {
		file := dir + "/" + entry.Name()
		target, err := os.Readlink(file)
		if errors.Is(err, fs.ErrPermission) {
			return nil, err
		}
		if err != nil || !strings.HasPrefix(path.Base(target), "wgunicorn-") {
			continue
		}
		var st unix.Stat_t
		if unix.Stat(file, &st) == nil {
			beats = append(beats, heartbeat{inode: st.Ino, beaten: beaten(&st)})
		}
	}
	return beats, nil
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
// it is the topmost one that runs gunicorn's own program.
func findMaster(root int) (pid int, ok bool) {
	holds := func(pid int) bool {
		beats, _ := heartbeats(pid)
		return len(beats) > 0
	}
	if pid, ok := topmost(root, holds); ok {
		return pid, true
	}
	return topmost(root, runs)
}

func topmost(root int, is func(pid int) bool) (pid int, ok bool) {
	for level := []int{root}; len(level) > 0; {
		var below []int
		for _, pid := range level {
			if is(pid) {
				return pid, true
			}
			below = append(below, reaper.Children(pid)...)
		}
		level = below
	}
	return 0, false
}
