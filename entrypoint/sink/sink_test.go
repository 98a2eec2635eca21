package sink

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stablehand/stablehand/internal/pipes"
)

// patience is for what is sure to come, on a machine however busy.
const patience = time.Minute

func TestNobodyWaitsForAFullPipe(t *testing.T) {
	before := runtime.NumGoroutine()
	r, w := pipes.New(t, 0)
	s := New(w, told)
	const all = 100_000                   // far more than pipe and queue hold
	text := strings.Repeat("a line ", 20) // so that the queue alone is more than the pipe holds
	line := []byte(text + "\n")
	for range all {
		if n, err := s.Write(line); n != len(line) || err != nil {
			t.Fatal(n, err)
		}
	}
	if n := runtime.NumGoroutine(); n > before+1 {
		t.Errorf("%d goroutines beside %d, want 1 that writes", n-before, before)
	}
	if s.Flush(10 * time.Millisecond) {
		t.Error("all is said to be written, and nobody has read")
	}
	s.mu.Lock()
	if s.lines > MaxLines || s.bytes > MaxBytes {
		t.Errorf("%d lines and %d bytes are queued", s.lines, s.bytes)
	}
	s.mu.Unlock()

	lines := bufio.NewScanner(r)
	written, lost := 0, 0
	for written+lost < all && lines.Scan() {
		if lines.Text() == text {
			written++
			continue
		}
		var n int
		if _, err := fmt.Sscanf(lines.Text(), "lost %d: <nil>", &n); err != nil {
			t.Fatalf("got %q", lines.Text())
		}
		lost += n
	}
	if written+lost != all || lost == 0 {
		t.Errorf("%d lines were written and %d told to be lost, of %d", written, lost, all)
	}
	if !s.Close(patience) {
		t.Error("it was not written in time")
	}
	gone(t, before)
}

func TestBytesAreBounded(t *testing.T) {
	r, w := pipes.New(t, 0)
	s := New(w, nil)
	long := bytes.Repeat([]byte("x"), MaxBytes/8)
	for range 100 {
		s.Write(long)
	}
	s.mu.Lock()
	if s.bytes > MaxBytes {
		t.Errorf("%d bytes are queued", s.bytes)
	}
	s.mu.Unlock()
	r.Close()
	if !s.Close(patience) {
		t.Error("it was not written in time")
	}
}

// What was lost is told where it is missing: after what came before, and before
// what came after.
func TestOrderIsKept(t *testing.T) {
	r, w := pipes.New(t, 0)
	s := New(w, told)
	sent := 0
	send := func(n int) {
		for range n {
			fmt.Fprintf(s, "%d\n", sent)
			sent++
		}
	}
	send(50_000)
	next := 0
	for lines := bufio.NewScanner(r); next < sent && lines.Scan(); {
		var n int
		if _, err := fmt.Sscanf(lines.Text(), "lost %d: <nil>", &n); err == nil {
			next += n
			if sent == 50_000 {
				send(100) // there is room again
			}
			continue
		}
		if lines.Text() != fmt.Sprint(next) {
			t.Fatalf("got %q, want %d", lines.Text(), next)
		}
		next++
	}
	if next != 50_100 {
		t.Errorf("%d lines are accounted for, want all", next)
	}
	s.Close(patience)
}

func TestLinesAreWhole(t *testing.T) {
	r, w := pipes.New(t, 0)
	s := New(w, nil)
	var writers sync.WaitGroup
	for i := range 8 {
		writers.Go(func() {
			line := []byte(strings.Repeat(string(rune('a'+i)), 10_000) + "\n")
			for range 10 {
				s.Write(line)
				line[0] = line[1] // it is ours again
			}
		})
	}
	go func() {
		writers.Wait()
		s.Close(patience)
		w.Close()
	}()
	seen := 0
	lines := bufio.NewScanner(r)
	for ; lines.Scan(); seen++ {
		if text := lines.Text(); len(text) != 10_000 || strings.Trim(text, text[:1]) != "" {
			t.Errorf("a line of %d bytes is mixed", len(text))
		}
	}
	if seen != 80 {
		t.Errorf("%d lines, want 80", seen)
	}
}

// faulty fails as it is told to, having written so much of the line.
type faulty struct {
	bytes.Buffer
	err  error
	part int
}

func (f *faulty) Write(b []byte) (int, error) {
	if f.err != nil {
		n, _ := f.Buffer.Write(b[:min(f.part, len(b))])
		return n, f.err
	}
	return f.Buffer.Write(b)
}

func TestAFaultIsToldWhenItIsOver(t *testing.T) {
	for _, err := range []error{unix.EPIPE, unix.ENOSPC, unix.EIO} {
		out := &faulty{}
		s := New(out, told)
		say := func(line string) {
			fmt.Fprintln(s, line)
			if !s.Flush(patience) {
				t.Fatal("it was not written in time")
			}
		}
		say("one")
		out.err, out.part = err, 2
		say("two")
		out.part = 0
		say("three")
		say("four")
		out.err = nil
		say("five")
		want := fmt.Sprintf("one\ntw\nlost 3: %v\nfive\n", err)
		if got := out.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// Somebody else who shares the file may make its writes fail where they would
// wait.
func TestAFileMadeNonblockingIsWaitedFor(t *testing.T) {
	r, w := pipes.New(t, 0)
	if err := unix.SetNonblock(int(w.Fd()), true); err != nil { // behind os.File's back
		t.Fatal(err)
	}
	s := New(w, told)
	line := strings.Repeat("x", 1023) + "\n"
	for range 256 {
		s.Write([]byte(line))
	}
	if s.Flush(10 * time.Millisecond) {
		t.Error("all is said to be written, and nobody has read")
	}
	lines := bufio.NewScanner(r)
	for range 256 {
		if !lines.Scan() || lines.Text()+"\n" != line {
			t.Fatalf("got %q", lines.Text())
		}
	}
	if !s.Close(patience) {
		t.Error("it was not written in time")
	}
}

func TestCloseWaitsNoLongerThanItMay(t *testing.T) {
	before := runtime.NumGoroutine()
	r, w := pipes.New(t, 0)
	s := New(w, nil)
	s.Write(make([]byte, MaxBytes/2))
	if s.Close(10 * time.Millisecond) {
		t.Error("all is said to be written, and nobody has read")
	}
	if _, err := s.Write([]byte("late\n")); !errors.Is(err, os.ErrClosed) {
		t.Errorf("a write after Close: %v", err)
	}
	r.Close()
	gone(t, before)
}

func told(lost int, err error) []byte { return fmt.Appendf(nil, "lost %d: %v\n", lost, err) }

// gone waits until there are no more goroutines than there were.
func gone(t *testing.T, before int) {
	t.Helper()
	for until := time.Now().Add(patience); runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("%d goroutines are left", runtime.NumGoroutine()-before)
		}
	}
}
