package watch

import (
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// big is a size in bytes that takes a while to read, and would be seen in the
// memory.
const big = 1 << 30

// TestLostEventsAreMadeUpFor lets the kernel's queue overflow while a big file
// is read.
func TestLostEventsAreMadeUpFor(t *testing.T) {
	s := newStage(t)
	s.mkdir("d/sub")
	s.write("d/sub/f", "1")
	s.write("big", "")
	s.must(os.Truncate(s.path("big"), big)) // sparse
	s.watch(Options{Paths: []string{"d", "d/sub/f", "big"}})
	deadline := time.Now().Add(patience)
	for turn := int64(1); !strings.Contains(s.log.String(), "events were lost"); turn++ {
		if time.Now().After(deadline) {
			t.Fatal("no event was lost: is fs.inotify.max_queued_events that big?")
		}
		s.must(os.Truncate(s.path("big"), big+turn)) // read again
		for range 10_000 {
			s.must(os.Chmod(s.path("d/sub/f"), 0o600))
			s.must(os.Chmod(s.path("big"), 0o600)) // two by turns: equal events in a row are one
		}
	}
	s.rename("d/sub", "old")
	s.mkdir("d/sub")
	s.write("d/sub/f", "2")
	if got := strings.Join(s.reports(), ", "); !strings.Contains(got, "d d/sub/f") {
		t.Errorf("reported: %s", got) // maybe before that, and again: big
	}
	s.write("d/sub/f", "3")
	s.expect("d d/sub/f")
	if n := strings.Count(s.log.String(), "events were lost"); n != 1 {
		t.Errorf("%d warnings, want 1", n)
	}
}

func TestBigFileIsReadInPieces(t *testing.T) {
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
