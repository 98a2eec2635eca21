package proc

import (
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// spares is how many descriptors are held in reserve. A look at the table needs
// two at a time, and there are seldom more than two looks at once.
const spares = 8

// held is what Hold has taken.
var held reserve

// Hold takes descriptors in reserve, so that a process which has used up all
// others, or whose machine has, can still see its children and end them. It is
// to be called once, when the program starts; without it nothing is in reserve.
func Hold() { held.take(spares) }

// reserve is descriptors of /dev/null that stand for those to come.
type reserve struct {
	mu    sync.Mutex
	size  int
	spare []int
}

func (r *reserve) take(size int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.size = size
	r.refill()
}

// refill is tried after each close. Where it fails there is still no room, and
// the next close will try again.
func (r *reserve) refill() {
	for len(r.spare) < r.size {
		fd, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return
		}
		r.spare = append(r.spare, fd)
	}
}

// open calls f, which opens a descriptor. Where there is none left for it,
// spare ones are given up until it gets one. It is to be closed by close.
func (r *reserve) open(f func() (int, error)) (int, error) {
	fd, err := again(f)
	if !usedUp(err) {
		return fd, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for usedUp(err) && len(r.spare) > 0 {
		last := len(r.spare) - 1
		unix.Close(r.spare[last])
		r.spare = r.spare[:last]
		fd, err = again(f)
	}
	return fd, err
}

// close closes a descriptor, and takes back what was given up of the reserve.
func (r *reserve) close(fd int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	unix.Close(fd)
	r.refill()
}

func usedUp(err error) bool { return err == unix.EMFILE || err == unix.ENFILE }

// again calls f until no signal interrupts it.
func again(f func() (int, error)) (int, error) {
	for {
		n, err := f()
		if err != unix.EINTR {
			return n, err
		}
	}
}

// Open opens a pidfd of a process, from the reserve if need be. The caller
// closes it.
func Open(pid int) (pidfd int, err error) {
	pidfd, err = held.open(func() (int, error) { return unix.PidfdOpen(pid, 0) })
	return pidfd, because(pid, "open", err)
}

// OpenIfRoom is Open without the reserve, for what matters less than that.
func OpenIfRoom(pid int) (pidfd int, err error) {
	pidfd, err = again(func() (int, error) { return unix.PidfdOpen(pid, 0) })
	return pidfd, because(pid, "open", err)
}

// because is the error of doing something with a process: os.ErrProcessDone
// where the kernel says that there is no such process.
func because(pid int, doing string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ESRCH):
		return fmt.Errorf("process %d: %w", pid, os.ErrProcessDone)
	}
	return fmt.Errorf("%s process %d: %w", doing, pid, err)
}

// gone says whether an error means that the process is no more.
func gone(err error) bool { return errors.Is(err, os.ErrProcessDone) }

// open opens a file of /proc.
func open(path string, flags int) (int, error) {
	return held.open(func() (int, error) { return unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|flags, 0) })
}

// partSize is how much is read at a time. Who reads thousands of files has a use for the
// same memory again.
const partSize = 16 << 10

var parts = sync.Pool{New: func() any { return new([partSize]byte) }}

// readFile reads a whole file of /proc, whose size nobody knows before.
func readFile(path string) ([]byte, error) {
	fd, err := open(path, 0)
	if err != nil {
		return nil, err
	}
	defer held.close(fd)
	var all []byte
	part := parts.Get().(*[partSize]byte)
	defer parts.Put(part)
	for {
		n, err := again(func() (int, error) { return unix.Read(fd, part[:]) })
		if err != nil {
			return nil, err
		}
		if n == 0 {
			return all, nil
		}
		all = append(all, part[:n]...)
	}
}

// readDir lists the names in a directory of /proc.
func readDir(path string) ([]string, error) {
	fd, err := open(path, unix.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	defer held.close(fd)
	return namesIn(fd)
}

// namesIn lists the names in an open directory.
func namesIn(dir int) (names []string, err error) {
	part := parts.Get().(*[partSize]byte)
	defer parts.Put(part)
	for {
		n, err := again(func() (int, error) { return unix.ReadDirent(dir, part[:]) })
		if err != nil {
			return nil, err
		}
		if n == 0 {
			return names, nil
		}
		_, _, names = unix.ParseDirent(part[:n], -1, names)
	}
}
