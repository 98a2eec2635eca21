package watch

import (
	"context"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// rest asks for the content at rest, which is to be known.
func (s *stage) rest(w *Watcher) (Content, uint64) {
	s.Helper()
	content, moves, err := w.Rest(s.Context())
	s.must(err)
	return content, moves
}

func TestRestSaysWhetherAnythingHasMoved(t *testing.T) {
	s := newStage(t)
	s.mkdir("d")
	s.write("d/a", "1")
	s.write("b", "1")
	s.watch(Options{Paths: []string{"d", "b"}, Debounce: 50 * time.Millisecond})
	first, before := s.rest(s.Watcher)
	if first != s.First() || before != s.Moves() {
		t.Fatal("it has moved, and nothing was written")
	}
	s.must(os.Chmod(s.path("b"), 0o600))
	if content, moves := s.rest(s.Watcher); content != first || moves != before {
		t.Error("a mode counts as content")
	}
	for name, write := range map[string]func(){
		"something else and back": func() { s.write("d/a", "2"); s.write("d/a", "1") },
		"the same once more":      func() { s.write("b", "1") },
		"the same in its place":   func() { s.write("c", "1"); s.must(os.Rename(s.path("c"), s.path("b"))) },
	} {
		_, before := s.rest(s.Watcher)
		began := time.Now()
		time.Sleep(tick) // the kernel's clock for files
		write()
		content, moves := s.rest(s.Watcher)
		if content != first || moves == before {
			t.Errorf("%s: the same content: %v, moves %d, %d before", name, content == first, moves, before)
		}
		if files := s.Written(began); len(files) != 1 || files[0].In != "" {
			t.Errorf("%s: written: %v", name, files)
		}
	}
}

func TestRestWaitsForRest(t *testing.T) {
	s := newStage(t)
	s.write("a", "1")
	s.watch(Options{Paths: []string{"a"}, Debounce: 300 * time.Millisecond})
	if s.Moving() {
		t.Error("it moves, and nothing was written")
	}
	s.write("a", "2")
	began := time.Now()
	s.until("it moves", s.Moving)
	content, _ := s.rest(s.Watcher)
	if !s.Moving() {
		t.Error("it does not move any more, and has told nobody")
	}
	if took := time.Since(began); content == s.First() || took < 300*time.Millisecond {
		t.Errorf("it has not waited for rest: %v", took)
	}
	defer s.until("it has told it", func() bool { return !s.Moving() })
	if c := <-s.Changes(); c.Content != content || c.Since.Before(began.Add(-time.Second)) || c.Since.After(began.Add(200*time.Millisecond)) {
		t.Errorf("changed since %v, written at %v", c.Since, began)
	}
}

// What sends no event is seen all the same.
func TestRestReliesOnNoEvent(t *testing.T) {
	s := newStage(t)
	s.write("a", "1")
	s.watch(Options{Paths: []string{"a"}})
	f, err := os.OpenFile(s.path("a"), os.O_RDWR, 0)
	s.must(err)
	defer f.Close()
	mem, err := unix.Mmap(int(f.Fd()), 0, 1, unix.PROT_WRITE, unix.MAP_SHARED) // inotify(7): not reported
	s.must(err)
	mem[0] = '2'
	s.must(unix.Munmap(mem))
	if content, moves := s.rest(s.Watcher); content == s.First() || moves < 2 {
		t.Error("it is not seen")
	}
}

func TestManyMayAskForRest(t *testing.T) {
	s := newStage(t)
	s.write("a", "1")
	s.watch(Options{Paths: []string{"a"}})
	answers := make(chan error, 50)
	for range 50 {
		go func() {
			_, _, err := s.Rest(t.Context())
			answers <- err
		}()
	}
	for range 50 {
		s.must(<-answers)
	}
}

func TestRestEndsWithItsContextAndWithTheWatch(t *testing.T) {
	s := newStage(t)
	s.write("a", "1")
	s.watch(Options{Paths: []string{"a"}, Debounce: time.Hour})
	s.write("a", "2")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, _, err := s.Rest(ctx); err != context.DeadlineExceeded {
		t.Error(err)
	}
	closed := make(chan error, 1)
	go func() {
		_, _, err := s.Rest(t.Context())
		closed <- err
	}()
	time.Sleep(50 * time.Millisecond)
	s.must(s.Close())
	if err := <-closed; err != errClosed {
		t.Error(err)
	}
	if _, _, err := s.Rest(t.Context()); err != errClosed {
		t.Error("asked later:", err)
	}
}

func TestRestIsNotKnownWhereAFileSystemHangs(t *testing.T) {
	o := newOutside(newStage(t))
	o.write("behind/a", "1")
	o.write("b", "1")
	o.watch(Options{Paths: []string{"mounted", "b"}})
	o.stops()
	if _, _, err := o.Rest(t.Context()); err != errUnseen {
		t.Error(err)
	}
	o.goesOn()
	o.until("it answers", func() bool {
		_, _, err := o.Rest(t.Context())
		return err == nil
	})
}
