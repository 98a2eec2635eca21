package watch

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// big is a size in bytes that takes a while to read, and would be seen in the
// memory.
const big = 1 << 30

// TestLostEventsAreMadeUpFor lets the kernel's queue overflow, with 100,000
// quick events while a big file is read, and changes among them.
func TestLostEventsAreMadeUpFor(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes as many events as the kernel queues")
	}
	s := newStage(t)
	s.mkdir("d/sub")
	s.write("d/sub/f", "1")
	s.write("big", "")
	s.must(os.Truncate(s.path("big"), big)) // sparse
	o := Options{Paths: []string{"d", "d/sub/f", "big"}}
	s.watch(o)
	deadline := time.Now().Add(patience)
	for turn := int64(1); !strings.Contains(s.log.String(), "events were lost"); turn++ {
		if time.Now().After(deadline) {
			t.Fatal("no event was lost: is fs.inotify.max_queued_events that big?")
		}
		s.must(os.Truncate(s.path("big"), big+turn)) // read again
		for n := range 50_000 {
			s.must(os.Chmod(s.path("d/sub/f"), 0o600))
			s.must(os.Chmod(s.path("big"), 0o600)) // two by turns: equal events in a row are one
			if n%1000 == 0 {
				s.write(fmt.Sprint("d/", turn, "-", n), "1")
			}
		}
	}
	s.reports() // of d at least, maybe more than one
	s.rename("d/sub", "old")
	s.mkdir("d/sub")
	s.write("d/sub/f", "2")
	s.expect("d d/sub/f")
	s.write("d/sub/f", "3")
	s.expect("d d/sub/f")
	if n := strings.Count(s.log.String(), "events were lost"); n != 1 {
		t.Errorf("%d warnings, want 1", n)
	}
	s.must(s.Close())
	firstSight(t, s.audience, o)
}

func TestBigFileIsReadInPieces(t *testing.T) {
	if testing.Short() {
		t.Skip("it reads a big file for seconds")
	}
	s := newStage(t)
	s.write("big", "")
	s.must(os.Truncate(s.path("big"), big))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	s.watch(Options{Paths: []string{"big"}})
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; took > 1<<20 {
		t.Errorf("took %d bytes of memory", took)
	}
}

// TestFirstLookEndsWithItsContext looks at a file that would take minutes.
func TestFirstLookEndsWithItsContext(t *testing.T) {
	s := newStage(t)
	s.write("endless", "")
	s.must(os.Truncate(s.path("endless"), 1<<40)) // sparse
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	begun := time.Now()
	w, err := New(ctx, Options{Paths: []string{s.path("endless"), s.dir, s.path("*")}})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, want that of the context", err)
	}
	if w != nil {
		t.Error("there is a watcher all the same")
	}
	if took := time.Since(begun); took > patience {
		t.Errorf("took %v", took)
	}
}

func TestCloseEndsALook(t *testing.T) {
	s := newStage(t)
	s.write("endless", "")
	s.watch(Options{Paths: []string{"endless"}})
	s.must(os.Truncate(s.path("endless"), 1<<40))
	begun := time.Now()
	for !isOpen(s.path("endless")) {
		if time.Since(begun) > patience {
			t.Fatal("the file is not read")
		}
		time.Sleep(time.Millisecond)
	}
	closing := time.Now()
	s.must(s.Close())
	if took := time.Since(closing); took > patience {
		t.Errorf("took %v", took)
	}
}

// isOpen says whether this process has a file open.
func isOpen(path string) bool {
	fds, _ := filepath.Glob("/proc/self/fd/*")
	return slices.ContainsFunc(fds, func(fd string) bool {
		target, _ := os.Readlink(fd)
		return target == path
	})
}
