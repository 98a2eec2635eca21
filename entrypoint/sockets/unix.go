package sockets

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/stablehand/stablehand/internal/proc"
)

// local is the path of unix sockets, each of which has a name of its own beside it.
type local struct{ address Address }

// names are those that sockets are bound to, as many as there may be.
var names = [most]string{".1", ".2"}

// linkName is that of a link on its way to the path.
const linkName = ".0"

// mode is what gunicorn gives a socket by its own default, a umask of 0: the directory
// says who may connect.
const mode = 0o777

// take binds a socket beside the path, if nobody listens there.
func (p local) take() (socket, error) {
	if err := p.vacant(p.address.path); err != nil {
		return socket{}, err
	}
	return p.bind(p.address.path + names[0])
}

// open has nothing to do: a socket beside the path is heard of by nobody.
func (p local) open(socket) error { return nil }

// left is a socket that has been left over, by the name that it has beside the path.
func (p local) left(inode uint64) (socket, error) {
	list, err := unixListening()
	for _, one := range list {
		if one.inode == inode && slices.Contains(p.names(), one.name) {
			one.file, err = os.Lstat(one.name)
			return one, err
		}
	}
	return socket{}, errors.Join(fmt.Errorf("a socket that was left over does not listen at %v any more", p.address), err)
}

// names are those that the sockets of a path may have.
func (p local) names() (beside []string) {
	for _, name := range names {
		beside = append(beside, p.address.path+name)
	}
	return beside
}

// unixListening are the unix sockets that listen, of all that have a name.
func unixListening() (sockets []socket, err error) {
	list, err := proc.UnixListening()
	for _, one := range list {
		sockets = append(sockets, socket{fd: notOurs, inode: one.Inode, name: one.Path})
	}
	return sockets, err
}

func (p local) join(present socket) (socket, error) {
	name := p.address.path + names[0]
	if name == present.name {
		name = p.address.path + names[1]
	}
	return p.bind(name)
}

// check is the error where the path leads to what somebody else listens at.
func (p local) check(group []socket) error {
	for _, s := range group {
		if same(p.address.path, s.name) {
			return nil
		}
	}
	return p.vacant(p.address.path)
}

// steer puts a link over the path, so that there is always something to connect to.
func (p local) steer(group []socket, place int) error {
	link := p.address.path + linkName
	if err := p.remove(link); err != nil {
		return err
	}
	if err := os.Link(group[place].name, link); err != nil {
		return err
	}
	return errors.Join(os.Rename(link, p.address.path), p.remove(link)) // where both are the same, rename(2) does nothing
}

// end resets what waits, too, which others who have the socket open would hold up.
func (p local) end(s socket) error {
	if !s.ours() {
		return p.endOthers(s)
	}
	err := errors.Join(p.unlink(s), os.NewSyscallError("shutdown", unix.Shutdown(s.fd, unix.SHUT_RDWR)))
	for {
		waits, _, none := unix.Accept4(s.fd, unix.SOCK_CLOEXEC)
		if none != nil {
			return errors.Join(err, s.close())
		}
		err = errors.Join(err, unix.Close(waits))
	}
}

// endOthers removes what a socket that was left over leaves in the file system. gunicorn
// may have removed its name, and so the path is compared with what that was.
func (p local) endOthers(s socket) error {
	err := p.remove(s.name)
	if there, gone := os.Lstat(p.address.path); gone == nil && os.SameFile(there, s.file) && p.vacant(p.address.path) == nil {
		err = errors.Join(err, p.remove(p.address.path))
	}
	return err
}

// leave takes the path away, and leaves the name beside it: a gunicorn that is not below
// the stablehand that has started it removes that itself as it ends, and fails where it
// is not there.
func (p local) leave(s socket) error {
	if !s.ours() {
		return p.vacate(s)
	}
	return errors.Join(p.vacate(s), s.close())
}

// forget removes the name of a socket that was left to others, unless it is another's by
// now.
func (p local) forget(s socket) error { return p.removeIf(s.name, s) }

// removeIf removes a name if it leads to a socket. A number may be another file's by now,
// which has another time.
func (p local) removeIf(name string, s socket) error {
	if there, err := os.Lstat(name); err != nil || s.file == nil || !os.SameFile(there, s.file) || there.ModTime() != s.file.ModTime() {
		return nil
	}
	return p.remove(name)
}

// unlink leaves no name of a socket's, nor the path if it leads there.
func (p local) unlink(s socket) error { return errors.Join(p.vacate(s), p.remove(s.name)) }

// vacate removes the path if it leads to a socket, whose name beside it may have gone.
func (p local) vacate(s socket) error { return p.removeIf(p.address.path, s) }

func (p local) release() error { return nil }

// bind has a socket listen at a name that nobody knows yet. What has been left there is removed.
func (p local) bind(name string) (socket, error) {
	if err := p.vacant(name); err != nil {
		return socket{}, err
	}
	if err := p.remove(name); err != nil {
		return socket{}, err
	}
	s, err := newSocket(unix.AF_UNIX)
	if err != nil {
		return socket{}, err
	}
	if err := os.NewSyscallError("bind", unix.Bind(s.fd, &unix.SockaddrUnix{Name: name})); err != nil {
		return socket{}, fmt.Errorf("listen at %v: %w", p.address, errors.Join(err, s.close()))
	}
	s.name = name
	if s.file, err = os.Lstat(name); err == nil {
		err = errors.Join(os.Chmod(name, mode), s.listen())
	}
	if err != nil {
		return socket{}, errors.Join(err, p.remove(name), s.close())
	}
	return s, nil
}

// vacant is the error of a path that a socket cannot come to: where somebody listens, or
// something else stands.
func (p local) vacant(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("listen at %v: %w", p.address, err)
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("listen at %v: what stands at %s is no socket (%v)", p.address, path, info.Mode())
	}
	s, err := newSocket(unix.AF_UNIX)
	if err != nil {
		return err
	}
	switch err = unix.Connect(s.fd, &unix.SockaddrUnix{Name: path}); {
	case errors.Is(err, unix.ECONNREFUSED), errors.Is(err, unix.ENOENT):
		err = nil
	case err == nil, errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EPROTOTYPE): // its queue is full, or it is of another kind
		err = p.inUse(s)
	default:
		err = fmt.Errorf("listen at %v: whether somebody does is not known: %w", p.address, os.NewSyscallError("connect", err))
	}
	return errors.Join(err, s.close())
}

// inUse tells who listens where a socket of ours is connected to, if it is.
func (p local) inUse(connected socket) error {
	peer, err := unix.GetsockoptUcred(connected.fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil || peer.Pid <= 0 || !proc.Alive(int(peer.Pid)) {
		return &InUseError{Address: p.address}
	}
	return &InUseError{Address: p.address, PID: int(peer.Pid), Program: program(int(peer.Pid))}
}

// remove removes a socket of ours, or one that was left. Anything else stays.
func (p local) remove(name string) error {
	info, err := os.Lstat(name)
	if err == nil && info.Mode().Type() == fs.ModeSocket {
		err = os.Remove(name)
	} else if err == nil {
		err = fmt.Errorf("listen at %v: what stands at %s is no socket (%v)", p.address, name, info.Mode())
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// same says whether two names are of one file.
func same(path, name string) bool {
	one, err := os.Lstat(path)
	other, err2 := os.Lstat(name)
	return err == nil && err2 == nil && os.SameFile(one, other)
}
