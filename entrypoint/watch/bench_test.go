package watch

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// await waits for one report and fails after the tests' patience.
func await(b *testing.B, w *Watcher) {
	select {
	case <-w.Changes():
	case <-time.After(patience):
		b.Fatal("no report")
	}
}

func benchWatch(b *testing.B, o Options) *Watcher {
	o.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
	w, err := New(context.Background(), o)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { w.Close() })
	return w
}

// many makes 20,000 files of 100 bytes in some directories.
func many(b *testing.B, directories int) string {
	dir := b.TempDir()
	for d := range directories {
		sub := filepath.Join(dir, fmt.Sprint("directory", d))
		if err := os.Mkdir(sub, 0o755); err != nil {
			b.Fatal(err)
		}
		for f := range 20_000 / directories {
			text := fmt.Sprintf("%100d", f)
			if err := os.WriteFile(filepath.Join(sub, fmt.Sprint("file", f)), []byte(text), 0o644); err != nil {
				b.Fatal(err)
			}
		}
	}
	return dir
}

// cpu is the time that this process has had a processor.
func cpu() time.Duration {
	var u unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

const benchDebounce = 250 * time.Millisecond

// BenchmarkReport is the time from a change to its report, over the debounce
// time, the median and the worst: of a file, and of one file in 20,000.
func BenchmarkReport(b *testing.B) {
	run := func(b *testing.B, path string, change func(turn int) error) {
		w := benchWatch(b, Options{Paths: []string{path}, Debounce: benchDebounce})
		var over []time.Duration
		reads := w.reads.Load()
		for turn := range b.N {
			time.Sleep(time.Second) // changes are rare; after a costly look thrift makes the next one wait
			start := time.Now()
			if err := change(turn); err != nil {
				b.Fatal(err)
			}
			await(b, w)
			over = append(over, time.Since(start)-benchDebounce)
		}
		slices.Sort(over)
		b.ReportMetric(float64(over[b.N/2].Microseconds())/1000, "ms-over-debounce")
		b.ReportMetric(float64(over[b.N-1].Microseconds())/1000, "ms-worst")
		b.ReportMetric(float64(w.reads.Load()-reads)/float64(b.N), "reads/op")
		b.ReportMetric(0, "ns/op")
	}
	b.Run("file", func(b *testing.B) {
		file := filepath.Join(b.TempDir(), "file")
		run(b, file, func(turn int) error { return os.WriteFile(file, []byte(fmt.Sprint(turn)), 0o644) })
	})
	for _, directories := range []int{200, 1} {
		b.Run(fmt.Sprintf("20000files/%ddirs", directories), func(b *testing.B) {
			dir := many(b, directories)
			file := filepath.Join(dir, "directory0", "file42")
			run(b, dir, func(turn int) error { return os.WriteFile(file, []byte(fmt.Sprint(turn)), 0o644) })
		})
	}
}

// BenchmarkFirstLook is the cost of New for 20,000 files, and what it keeps.
func BenchmarkFirstLook(b *testing.B) {
	dir := many(b, 200)
	heap := func() float64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return float64(m.HeapAlloc)
	}
	for b.Loop() {
		b.StopTimer()
		before := heap()
		b.StartTimer()
		w, err := New(context.Background(), Options{Paths: []string{dir}})
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		b.ReportMetric((heap()-before)/1e6, "MB-kept")
		w.Close()
		b.StartTimer()
	}
}

// BenchmarkBigFile is the first look at a sparse file of 1 GiB.
func BenchmarkBigFile(b *testing.B) {
	file := filepath.Join(b.TempDir(), "big")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		b.Fatal(err)
	}
	if err := os.Truncate(file, 1<<30); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.SetBytes(1 << 30)
	for b.Loop() {
		w := benchWatch(b, Options{Paths: []string{file}})
		w.Close()
	}
}

// BenchmarkStorm is 10,000 events a second for 10 s, for a file that is
// watched and for one beside it: the share of one processor that they cost, the
// writer's own taken off, and the number of reports that they end in.
func BenchmarkStorm(b *testing.B) {
	for _, name := range []string{"watched", "beside"} {
		b.Run(name, func(b *testing.B) {
			dir := b.TempDir()
			for b.Loop() {
				alone := storm(b, filepath.Join(dir, "unwatched"))
				w := benchWatch(b, Options{Paths: []string{filepath.Join(dir, "watched")}, Debounce: benchDebounce})
				looks := w.looks.Load()
				cost := storm(b, filepath.Join(dir, name))
				reports := 0
				for quiet := time.After(4 * benchDebounce); quiet != nil; {
					select {
					case <-w.Changes():
						reports++
					case <-quiet:
						quiet = nil
					}
				}
				b.ReportMetric(100*float64(cost-alone)/float64(stormTime), "%cpu")
				b.ReportMetric(float64(reports), "reports")
				b.ReportMetric(float64(w.looks.Load()-looks), "looks")
				w.Close()
			}
		})
	}
}

const (
	stormTime = 10 * time.Second
	stormRate = 10_000 // writes, and so events, a second
)

// storm writes to a file at an even pace, and returns what this process spent.
func storm(b *testing.B, file string) time.Duration {
	f, err := os.Create(file)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	before := cpu()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for n := 0; n < int(stormRate*stormTime/time.Second); {
		<-tick.C
		for range stormRate / 100 {
			if _, err := f.WriteAt([]byte(fmt.Sprint(n)), 0); err != nil {
				b.Fatal(err)
			}
			n++
		}
	}
	return cpu() - before
}
