package watch

import (
	"errors"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// maxLinks is how many symlinks one path may lead through, as in the kernel
// (path_resolution(7)).
const maxLinks = 40

// node is something that a path leads to.
type node struct {
	path string // absolute, with no symlink in it
	stat unix.Stat_t
}

func (n *node) kind() uint32 { return n.stat.Mode & unix.S_IFMT }
func (n *node) inode() inode { return inode{n.stat.Dev, n.stat.Ino} }

// inode names a file or directory, whatever it is called.
type inode struct{ dev, ino uint64 }

// resolve follows a name, absolute or relative to a directory that has no
// symlink in its path, as the kernel would. Before it looks a name up it has
// the directory watched for that name, so that the answer can't become wrong
// without an event; this is also how something missing is seen when it
// appears.
func (l *look) resolve(from, name string) (node, error) {
	if strings.HasPrefix(name, "/") {
		from = "/"
	}
	at, err := l.lstat(from)
	if err != nil {
		return node{}, err
	}
	links := 0
	for rest := strings.Split(name, "/"); len(rest) > 0; {
		if err := l.ctx.Err(); err != nil {
			return node{}, err
		}
		next := rest[0]
		rest = rest[1:]
		if at.kind() != unix.S_IFDIR {
			return node{}, unix.ENOTDIR
		}
		switch next {
		case "", ".":
			continue
		case "..":
			next = path.Dir(at.path)
		default:
			l.places.watch(&at, next)
			next = join(at.path, next)
		}
		child, err := l.lstat(next)
		if err != nil {
			return node{}, err
		}
		if child.kind() != unix.S_IFLNK {
			at = child
			continue
		}
		if links++; links > maxLinks {
			return node{}, unix.ELOOP
		}
		target, err := l.readLink(child.path)
		if err != nil {
			return node{}, err
		}
		rest = append(strings.Split(target, "/"), rest...)
		if strings.HasPrefix(target, "/") {
			if at, err = l.lstat("/"); err != nil {
				return node{}, err
			}
		}
	}
	return at, nil
}

func (l *look) lstat(path string) (node, error) {
	n := node{path: path}
	err := l.ask(path, func() error { return unix.Lstat(path, &n.stat) })
	return n, err
}

// gone says whether an error means that there is nothing of that name.
func gone(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR)
}

func (l *look) readLink(path string) (string, error) {
	buf, n := make([]byte, unix.PathMax), 0
	err := l.ask(path, func() (err error) {
		n, err = unix.Readlink(path, buf)
		return err
	})
	if err != nil {
		return "", err
	}
	return string(buf[:n]), nil
}

// join is path.Join for a directory that is clean already.
func join(dir, name string) string {
	if dir == "/" {
		return dir + name
	}
	return dir + "/" + name
}

// split takes an absolute path apart as join puts it together.
func split(path string) (dir, name string) {
	i := strings.LastIndexByte(path, '/')
	if i <= 0 {
		return "/", path[i+1:]
	}
	return path[:i], path[i+1:]
}
