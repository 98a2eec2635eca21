package control

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// maxPath is how long a socket's path may be: sun_path of unix(7), with a zero.
const maxPath = 107

// runDir is the place of a system's own; tests have another.
var runDir = "/run/stablehand"

// Paths lists where the socket may be, the first choice first: where CONTROL
// says, or in a private directory for what runs, in $XDG_RUNTIME_DIR, in /run,
// or, named by the user's id, among the temporary files.
func Paths(said string) []string { return paths(said, os.Geteuid()) }

func paths(said string, uid int) []string {
	if said != "" {
		return []string{said}
	}
	var list []string
	if dir := os.Getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(dir) {
		list = append(list, filepath.Join(dir, "stablehand", "control"))
	}
	return append(list, filepath.Join(runDir, "control"),
		filepath.Join(os.TempDir(), fmt.Sprintf("stablehand-%d", uid), "control"))
}

// ErrLives is the error of listening where another stablehand does.
var ErrLives = errors.New("another stablehand listens there")

// Listen listens at the first of the paths that can be had: the directory of a
// path that was not said is made, and is to be ours and writable for nobody
// else; where another stablehand lives at the path, ours is beside it. A socket that a
// dead one has left is replaced. The error wraps ErrLives where a living one has its
// socket at the path that was said.
func Listen(said string) (net.Listener, error) {
	var errs error
	for _, path := range Paths(said) {
		if said == "" {
			if err := private(filepath.Dir(path)); err != nil {
				errs = errors.Join(errs, err)
				continue
			}
		}
		socket, err := listen(path)
		if said == "" && errors.Is(err, ErrLives) {
			socket, err = listenBeside(path)
		}
		if err == nil || errors.Is(err, ErrLives) {
			return socket, err
		}
		errs = errors.Join(errs, err)
	}
	return nil, errs
}

// Usual says whether an address is one that [Listen] chooses where no other stablehand
// lives.
func Usual(at net.Addr) bool { return slices.Contains(Paths(""), at.String()) }

// mostBeside is how many stablehands of a user there may be, beside those that are told
// where to listen.
const mostBeside = 100

// listenBeside listens at the first path beside the given one at which no other
// stablehand does.
func listenBeside(path string) (socket net.Listener, err error) {
	for n := 2; n <= mostBeside; n++ {
		socket, err = listen(fmt.Sprintf("%s-%d", path, n))
		if !errors.Is(err, ErrLives) {
			break
		}
	}
	return socket, err
}

// beside are the path and those that are in use beside it.
func beside(path string) []string {
	all := []string{path}
	dir, name := filepath.Split(path)
	entries, _ := os.ReadDir(dir) // where it cannot be read there may be the one at the path
	for _, entry := range entries {
		if number, is := strings.CutPrefix(entry.Name(), name+"-"); is && strings.Trim(number, "0123456789") == "" {
			all = append(all, dir+entry.Name())
		}
	}
	return all
}

// private makes sure that a directory is there in which nobody else can put
// anything.
func private(dir string) error {
	err := os.Mkdir(dir, 0o700)
	if err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return onlyOf(dir, os.Geteuid())
}

// onlyOf makes sure that a directory is one in which nobody but a user, and root, can
// put anything.
func onlyOf(dir string, uid int) error {
	info, err := os.Lstat(dir) // a symlink may be somebody else's
	if err != nil {
		return err
	}
	owner := info.Sys().(*syscall.Stat_t).Uid
	if !info.IsDir() || int(owner) != uid || info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("%s is not a directory in which only user %d can write", dir, uid)
	}
	return nil
}

// listen listens at one path. Of two stablehands that do so at the same moment
// the lock on the directory lets one after the other.
func listen(path string) (net.Listener, error) {
	if len(path) > maxPath {
		return nil, fmt.Errorf("%s: the path of a socket may have %d bytes, this has %d", path, maxPath, len(path))
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	if err := lock(dir); err != nil {
		return nil, fmt.Errorf("lock %s: %w", dir.Name(), err)
	}
	if err := replace(path); err != nil {
		return nil, err
	}
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		// The file that bind makes gets the mode of the socket (unix(7) tells
		// only of the umask, which is the whole process's).
		if cerr := c.Control(func(fd uintptr) { err = unix.Fchmod(int(fd), 0o600) }); cerr != nil {
			return cerr
		}
		return err
	}}
	return config.Listen(context.Background(), "unix", path)
}

// lock waits no longer than another stablehand needs to listen: anybody who can
// open the directory can hold it, too.
func lock(dir *os.File) (err error) {
	for until := time.Now().Add(2 * time.Second); time.Now().Before(until); time.Sleep(10 * time.Millisecond) {
		if err = unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != unix.EWOULDBLOCK {
			return err
		}
	}
	return err
}

// replace removes the socket of a stablehand that is dead.
func replace(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != os.ModeSocket {
		return fmt.Errorf("%s is there already, and is no socket", path)
	}
	conn, err := net.Dial("unix", path)
	if err == nil {
		conn.Close()
		return fmt.Errorf("%s: %w", path, ErrLives)
	}
	if !errors.Is(err, unix.ECONNREFUSED) {
		return err
	}
	return os.Remove(path)
}
