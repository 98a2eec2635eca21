package watch

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// digest is the SHA-256 of some content.
type digest [sha256.Size]byte

// record is what a look knew of a file: what stat said, and the digest of its
// content then.
type record struct {
	inode        inode
	size         int64
	mtime, ctime int64 // nanoseconds since 1970; ctime 0: stat can't vouch for the content
	digest       digest
}

const (
	// tick is how far apart two changes may be and still get the same time:
	// the kernel's clock for time stamps goes by timer ticks, 10 ms at most,
	// where the file system has no finer one. Twice that, to be safe.
	tick = 20 * time.Millisecond

	// coarseTick is the same for file systems that store whole seconds: FAT
	// counts by two.
	coarseTick = 2 * time.Second

	// chunk is how much of a file is in memory at once, in bytes.
	chunk = 128 << 10
)

// file returns what is to be known of a file, and reads it only when stat says
// that it may have changed. One that can't be read is what it was before.
func (l *look) file(at node) (record, error) {
	l.files++
	l.leaf = true
	l.kindOf()
	if l.dry {
		return record{digest: digest{1}}, l.ask(at.path, func() error { return unix.Access(at.path, unix.R_OK) })
	}
	known, ok := l.records[at.inode()]
	if !ok {
		known, ok = l.before[at.inode()]
	}
	if ok && known.vouchesFor(&at.stat) {
		return known, nil
	}
	r, err := l.read(at)
	if err == nil && (!ok || known.mtime != r.mtime) {
		l.wrote(at.path)
	}
	if ok && errors.Is(err, unix.EACCES) {
		l.fault(at.path, unreadable(err))
		known.ctime = 0 // try again at every look
		return known, nil
	}
	return r, err
}

// good says whether the record vouches for a file that nothing was heard of
// since.
func (r *record) good() bool { return r.ctime != 0 }

// vouchesFor says whether a file with this stat must still have the content
// of the record. ctime can't be set back by cp -p or touch as mtime can.
func (r *record) vouchesFor(st *unix.Stat_t) bool {
	return r.good() && r.ctime == st.Ctim.Nano() && r.mtime == st.Mtim.Nano() && r.size == st.Size
}

// read reads a whole file, in pieces: a big one takes no more memory. It never
// waits for a FIFO or device that has taken the file's place meanwhile.
func (l *look) read(at node) (record, error) {
	fd, err := l.open(at.path)
	if err != nil {
		return record{}, err
	}
	defer l.close(at.path, fd)
	var before, after unix.Stat_t
	if err := l.ask(at.path, func() error { return unix.Fstat(fd, &before) }); err != nil {
		return record{}, err
	}
	if before.Mode&unix.S_IFMT != unix.S_IFREG {
		return record{}, unix.ENOENT // an event follows
	}
	now := time.Now()
	l.reads++
	sum, err := l.drain(at.path, fd)
	if err != nil {
		return record{}, fmt.Errorf("read %s: %w", at.path, err)
	}
	if err := l.ask(at.path, func() error { return unix.Fstat(fd, &after) }); err != nil {
		return record{}, err
	}
	r := record{inode: inode{before.Dev, before.Ino}, size: before.Size, mtime: before.Mtim.Nano(), ctime: before.Ctim.Nano(), digest: sum}
	if !r.vouchesFor(&after) {
		l.torn = true
		r.ctime = 0
	}
	if age := now.Sub(time.Unix(before.Ctim.Unix())); age < grain(&before) {
		r.ctime = 0 // the next change may get the same time
	}
	return r, nil
}

func (l *look) open(path string) (fd int, err error) {
	err = l.ask(path, func() (err error) {
		fd, err = unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
		return err
	})
	return fd, err
}

func (l *look) close(path string, fd int) {
	_ = l.ask(path, func() error {
		_ = unix.Close(fd) // never again, whatever it says: it is closed
		return nil
	})
}

// drain digests what can be read from a descriptor.
func (l *look) drain(path string, fd int) (digest, error) {
	if l.buffer == nil {
		l.buffer = make([]byte, chunk)
	}
	sum := sha256.New()
	for {
		if err := l.ctx.Err(); err != nil {
			return digest{}, err
		}
		n := 0
		err := l.ask(path, func() (err error) {
			n, err = unix.Read(fd, l.buffer)
			return err
		})
		switch {
		case err != nil:
			return digest{}, err
		case n == 0:
			return digest(sum.Sum(nil)), nil
		}
		sum.Write(l.buffer[:n])
	}
}

// grain is the resolution of a file's times.
func grain(st *unix.Stat_t) time.Duration {
	if st.Ctim.Nsec == 0 {
		return coarseTick
	}
	return tick
}
