package sink

import (
	"errors"
	"io"
	"syscall"

	"golang.org/x/sys/unix"
)

// progress is how the writing goes. It belongs to the goroutine that writes.
type progress struct {
	lost int   // lines that nobody has been told of yet
	err  error // why, where it was not that nobody read
	torn bool  // a write has failed in the middle of a line
}

// pass writes a line, and before it how many were lost. Where that cannot be
// written the line cannot either, and is lost as well.
func (s *Sink) pass(e entry) {
	s.lost += e.dropped
	if s.lost > 0 && !s.confess() {
		if e.dropped == 0 {
			s.lost++
		}
		return
	}
	if e.dropped > 0 {
		return
	}
	if err := s.put(e.line); err != nil {
		s.lost, s.err = s.lost+1, err
	}
}

// confess tells how many lines are lost, and says whether that was written.
func (s *Sink) confess() bool {
	if line := s.tell(s.lost, s.err); len(line) > 0 {
		if err := s.put(line); err != nil {
			s.err = err
			return false
		}
	}
	s.lost, s.err = 0, nil
	return true
}

// put writes a line for as long as it takes. What comes after a torn line begins
// a new one.
func (s *Sink) put(line []byte) error {
	if s.torn {
		line = append([]byte{'\n'}, line...)
	}
	for {
		n, err := s.out.Write(line)
		if n > 0 {
			s.torn = n < len(line) && line[n-1] != '\n'
			line = line[n:]
		}
		if errors.Is(err, unix.EAGAIN) && writable(s.out) {
			continue // another process that shares the file has set O_NONBLOCK
		}
		return err
	}
}

// writable waits until a file takes more, and says whether it could wait.
func writable(out io.Writer) bool {
	file, ok := out.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := file.SyscallConn()
	if err != nil {
		return false
	}
	err = raw.Control(func(fd uintptr) {
		poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
		for ok = false; !ok; {
			_, err := unix.Poll(poll, -1)
			if err != nil && err != unix.EINTR {
				return
			}
			ok = err == nil
		}
	})
	return ok && err == nil
}
