package main_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// restHandoffs is after how many handoffs rest is looked at again: what each of
// them leaves behind would show, and they take a minute or two.
const restHandoffs = 20

// BenchmarkRest lets stablehand be, below a gunicorn that nobody asks for
// anything, for 15 s in each iteration: once it serves, and again after some
// handoffs. It reports
//
//	anon-kB     memory of its own, as RssAnon in /proc/PID/status: all that it
//	            costs, since its program's pages are in the page cache
//	files       descriptors
//	threads
//	wakeups/op  how often a thread had given up a processor and was woken up
//	cpu-ms/op   how long threads ran
//
// Whatever is made or removed in a directory above the watched file wakes it up,
// so that others should write nothing to /var/tmp meanwhile.
func BenchmarkRest(b *testing.B) {
	b.Setenv("TMPDIR", "/var/tmp")
	// Nor should the workers' heartbeats.
	words := []string{"stablehand", "gunicorn", "--workers=2", "--worker-tmp-dir=/dev/shm", "app:wsgi"}
	r := startReloaded(b, python(b, newest), "0", words)
	if _, err := r.await(regexp.MustCompile("msg=serving")); err != nil {
		b.Fatal(err)
	}
	pid := r.stablehand(b)
	b.Run("serving", func(b *testing.B) { rest(b, pid) })
	for range restHandoffs {
		r.signal(b, pid, unix.SIGHUP)
		if _, err := r.await(regexp.MustCompile(`msg="handed off"`)); err != nil {
			b.Fatal(err, r.logged())
		}
	}
	b.Run(fmt.Sprintf("after-%d-handoffs", restHandoffs), func(b *testing.B) { rest(b, pid) })
}

func rest(b *testing.B, pid int) {
	wakeups, cpu := worked(pid)
	for b.Loop() {
		time.Sleep(15 * time.Second)
	}
	wakeupsNow, cpuNow := worked(pid)
	w, err := weigh(pid)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(w.anonymous), "anon-kB")
	b.ReportMetric(float64(w.files), "files")
	b.ReportMetric(float64(w.threads), "threads")
	b.ReportMetric(float64(wakeupsNow-wakeups)/float64(b.N), "wakeups/op")
	b.ReportMetric(1000*(cpuNow-cpu).Seconds()/float64(b.N), "cpu-ms/op")
}

// stablehand is its pid.
func (r *reloaded) stablehand(b *testing.B) int {
	for _, p := range tree(r.first) {
		if p.comm == "stablehand" {
			return p.pid
		}
	}
	b.Fatal("no stablehand runs", r.logged())
	return 0
}

// worked counts how often the threads of a process have given up a processor and
// so were woken up, and adds up how long they ran.
func worked(pid int) (wakeups int, cpu time.Duration) {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
	for _, task := range tasks {
		status, _ := os.ReadFile(task + "/status")
		wakeups += sum(regexp.MustCompile(`(?m)^voluntary_ctxt_switches:\s+(\d+)`), status)
		ran, _ := os.ReadFile(task + "/schedstat") // in ns, the first of three numbers
		cpu += time.Duration(sum(regexp.MustCompile(`^(\d+)`), ran))
	}
	return wakeups, cpu
}

// sum adds up the numbers that a pattern finds.
func sum(number *regexp.Regexp, text []byte) (n int) {
	for _, found := range number.FindAllSubmatch(text, -1) {
		m, _ := strconv.Atoi(string(found[1]))
		n += m
	}
	return n
}
