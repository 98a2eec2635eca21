// Package small reads and writes files of a few bytes at places of which nobody
// knows what is there: a directory, a pipe that nobody writes to, a file without
// end, a file system that does not answer.
//
// It knows nothing of what is in them.
package small

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/stablehand/stablehand/internal/deaf"
)

var (
	// ErrHangs is the error of a path of which no answer has come in time.
	ErrHangs = errors.New("its file system hangs")

	// ErrNoFile is the error of a path that leads to something else.
	ErrNoFile = errors.New("it is no regular file")
)

// Read reads a file, and no more than a number of bytes. It waits until ctx ends,
// and then leaves who asks the file system to itself. Flags are those of open(2),
// besides.
func Read(ctx context.Context, path string, most int64, flags int) (content []byte, info fs.FileInfo, err error) {
	type answer struct {
		content []byte
		info    fs.FileInfo
		err     error
	}
	answered := make(chan answer, 1)
	go deaf.Call(func() {
		var a answer
		a.content, a.info, a.err = read(unix.AT_FDCWD, path, most, flags)
		answered <- a
	})
	select {
	case a := <-answered:
		return a.content, a.info, a.err
	case <-ctx.Done():
		return nil, nil, fmt.Errorf("read %s: %w", path, ErrHangs)
	}
}

// ReadAt reads a file as Read does, whose path is below a directory that is open
// (openat(2)). It takes as long as the file system does.
func ReadAt(dir *os.File, path string, most int64, flags int) (content []byte, info fs.FileInfo, err error) {
	return read(int(dir.Fd()), path, most, flags)
}

// read does not wait for who should write to a pipe (O_NONBLOCK).
func read(dir int, path string, most int64, flags int) ([]byte, fs.FileInfo, error) {
	f, err := openAt(dir, path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC|flags)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, info, fmt.Errorf("read %s: %w", path, ErrNoFile)
	}
	content, err := io.ReadAll(io.LimitReader(f, most))
	return content, info, err
}

// openAt is os.OpenFile below a directory. It begins anew where a signal came, as
// that does, such as Go's own SIGURG while a FUSE file system is asked.
func openAt(dir int, path string, flags int) (*os.File, error) {
	for {
		fd, err := unix.Openat(dir, path, flags, 0)
		if err == nil {
			return os.NewFile(uintptr(fd), path), nil
		}
		if err != unix.EINTR {
			return nil, &fs.PathError{Op: "open", Path: path, Err: err}
		}
	}
}

// Write puts a file in the place of another one, or of none, for our own user
// only. It takes as long as the file system does.
func Write(path string, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*") // of mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
