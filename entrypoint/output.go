package entrypoint

import (
	"bufio"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stablehand/stablehand/entrypoint/sink"
)

const (
	// pipeBuf is how much is written to a pipe in one piece (PIPE_BUF, pipe(7)):
	// a line up to that long is not torn by another one.
	pipeBuf = 4096

	// lastWords is how long we wait, when gunicorn has ended, for the end of what
	// it wrote. It is there at once, unless something else has the pipe open.
	lastWords = time.Second

	// patience is how long gunicorn is held up, as it would be without us, where
	// whoever reads us is slower than what it writes. Who has not read in that
	// time is taken for dead, and what they do not read is dropped.
	patience = time.Second
)

// output passes on what an adopted gunicorn writes. Where a supervisor reads our
// output from a pipe, it gives that up when we are killed, and gunicorn and each
// of its successors are left with a pipe that nobody reads: their lines are lost,
// an application that prints fails, and the exit code is Python's 120.
type output struct {
	pipes   []*os.File
	sinks   []*sink.Sink
	readers sync.WaitGroup
}

// readOn reads each pipe that a process has as standard output or error and that
// nobody reads any more. One that is both is read once.
func readOn(pid int, log *slog.Logger) *output {
	o := new(output)
	for i, to := range []*os.File{os.Stdout, os.Stderr} {
		pipe, err := openUnread(fmt.Sprintf("/proc/%d/fd/%d", pid, 1+i))
		if err != nil {
			log.Warn("cannot open the pipe that gunicorn writes to: if nobody reads it, what gunicorn logs is lost",
				"reason", err, "do", "restart gunicorn, if its lines are missing")
			break
		}
		if pipe != nil {
			lines := sink.New(to, dropped(log))
			o.pipes, o.sinks = append(o.pipes, pipe), append(o.sinks, lines)
			o.readers.Go(func() { passOn(lines, pipe) })
		}
	}
	return o
}

// dropped says in the log that lines of gunicorn's were dropped: among them it
// would be taken for one of theirs. Of what cannot be written nothing is said,
// since it is said of the log as well.
func dropped(log *slog.Logger) sink.Tell {
	return func(lost int, err error) []byte {
		if err == nil {
			log.Warn("lines of gunicorn's were dropped since nobody read them", "lines", lost)
		}
		return nil
	}
}

// close returns when all that was written has been passed on, or whoever should
// read it has not in patience.
func (o *output) close() {
	for _, pipe := range o.pipes {
		if pipe.SetReadDeadline(time.Now().Add(lastWords)) != nil {
			return // a reader that cannot be stopped is not waited for
		}
	}
	o.readers.Wait()
	until := time.Now().Add(patience)
	for i, pipe := range o.pipes {
		pipe.Close()
		o.sinks[i].Close(time.Until(until))
	}
}

// passOn writes line after line until nobody has the pipe open. Where ours can't
// be written to it reads all the same, so that gunicorn need not wait.
func passOn(to *sink.Sink, pipe *os.File) {
	lines := bufio.NewReaderSize(pipe, pipeBuf)
	wait, count, size := patience, 0, 0 // of what may not have got through
	for {
		line, err := lines.ReadSlice('\n')
		to.Write(line)
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return
		}
		count, size = count+1, size+len(line)
		if count < sink.MaxLines/2 && size < sink.MaxBytes/2 {
			continue
		}
		count, size = 0, 0
		if to.Flush(wait) {
			wait = patience
		} else {
			wait = 0 // until they read again
		}
	}
}

// openUnread opens what a descriptor leads to for reading, if that is a pipe which
// nobody reads. A fifo with a name is none, since who reads that comes back by the
// name, and our own is none, since what we read from it we would write to it.
func openUnread(path string) (*os.File, error) {
	pipe, _ := os.Readlink(path)
	if !strings.HasPrefix(pipe, "pipe:") || isOurs(pipe) {
		return nil, nil
	}
	end, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return nil, err
	}
	defer end.Close()
	poll := []unix.PollFd{{Fd: int32(end.Fd())}}
	if _, err := unix.Poll(poll, 0); err != nil || poll[0].Revents&unix.POLLERR == 0 {
		return nil, err // see poll(2): POLLERR is a pipe whose readers have closed it
	}
	return os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0) // else it takes no deadline
}

func isOurs(pipe string) bool {
	for _, own := range []string{"/proc/self/fd/1", "/proc/self/fd/2"} {
		if to, err := os.Readlink(own); err == nil && to == pipe {
			return true
		}
	}
	return false
}
