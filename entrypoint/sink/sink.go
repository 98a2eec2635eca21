// Package sink writes lines to where nobody may be reading: a full pipe, a
// terminal that Ctrl-S has stopped, the pipe of a log driver that is dead.
//
// Write never waits. What is written is queued, and one goroutine, which is
// there only while there is something to write, passes it on in order, each
// line whole. When the queue is full new lines are dropped and counted, and the
// count is told in their place once what came before them has been written.
// So at most one thread is held up, and the memory that is taken is bounded.
//
// It knows nothing of what is in a line, and leaves the flags of the file as
// they are: O_NONBLOCK would be set for every process that shares it.
package sink

import (
	"bytes"
	"io"
	"os"
	"sync"
	"time"

	"github.com/stablehand/stablehand/internal/deaf"
)

const (
	// MaxLines and MaxBytes bound what is queued: a few bursts of a log, and
	// little beside what a worker takes. A pipe itself holds 64 KiB.
	MaxLines = 4096
	MaxBytes = 1 << 20
)

// Sink is an io.Writer that never waits. Each Write is one line, or a piece that
// is to be written at once. Its methods may be called from any goroutine.
type Sink struct {
	out  io.Writer
	tell Tell

	mu       sync.Mutex
	queue    []entry
	lines    int  // in the queue
	bytes    int  // in the queue
	dropping bool // until half of the queue is free, so that the gaps are few
	closed   bool
	idle     chan struct{} // closed when all is written; nil where nothing is queued

	progress // of the goroutine that writes
}

// entry is a line, or where it is empty the place of lines that were dropped.
type entry struct {
	line    []byte
	dropped int
}

// Tell makes the line that says how many lines are lost. The error is of the
// last write that failed, and nil where they were dropped since nobody read. An
// empty line says nothing, and counts as said. It is called by the goroutine that
// writes, and is not to write to the same Sink.
type Tell func(lost int, err error) []byte

// New writes to out. tell may be nil.
func New(out io.Writer, tell Tell) *Sink {
	if tell == nil {
		tell = func(int, error) []byte { return nil }
	}
	return &Sink{out: out, tell: tell}
}

// Write queues a copy of the line, or drops it. It fails only once the sink is
// closed.
func (s *Sink) Write(line []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0, os.ErrClosed
	}
	if len(line) == 0 {
		return 0, nil
	}
	if s.room(len(line)) {
		s.queue = append(s.queue, entry{line: bytes.Clone(line)})
		s.lines++
		s.bytes += len(line)
	} else {
		s.drop()
	}
	if s.idle == nil {
		s.idle = make(chan struct{})
		go deaf.Call(s.drain) // the file may be on a file system that hangs
	}
	return len(line), nil
}

// room says whether a line of so many bytes is to be queued.
func (s *Sink) room(n int) bool {
	if s.dropping && (s.lines > MaxLines/2 || s.bytes > MaxBytes/2) {
		return false
	}
	s.dropping = s.lines >= MaxLines || s.bytes+n > MaxBytes
	return !s.dropping
}

// drop counts a line that is not queued, in its place.
func (s *Sink) drop() {
	if last := len(s.queue) - 1; last >= 0 && s.queue[last].dropped > 0 {
		s.queue[last].dropped++
		return
	}
	s.queue = append(s.queue, entry{dropped: 1})
}

// drain writes until nothing is queued.
func (s *Sink) drain() {
	for {
		next, ok := s.next()
		if !ok {
			return
		}
		s.pass(next)
	}
}

func (s *Sink) next() (entry, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) == 0 {
		close(s.idle)
		s.queue, s.idle = nil, nil
		return entry{}, false
	}
	next := s.queue[0]
	s.queue[0] = entry{} // so that the line can be freed
	s.queue = s.queue[1:]
	if next.dropped == 0 {
		s.lines--
		s.bytes -= len(next.line)
	}
	return next, true
}

// Flush waits until all that is queued has been written, or has failed to be, but
// no longer than the limit. It says whether that is so.
func (s *Sink) Flush(limit time.Duration) bool {
	s.mu.Lock()
	idle := s.idle
	s.mu.Unlock()
	if idle == nil {
		return true
	}
	late := time.NewTimer(limit)
	defer late.Stop()
	select {
	case <-idle:
		return true
	case <-late.C:
		return false
	}
}

// Close takes no more lines, and waits for those that are queued as Flush does.
// It leaves the file open. Where the limit has passed the goroutine that writes
// stays until its file takes the line, or the process ends.
func (s *Sink) Close(limit time.Duration) bool {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	return s.Flush(limit)
}
