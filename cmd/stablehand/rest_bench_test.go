package main_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"
)

// BenchmarkRest lets stablehand be, below a gunicorn that nobody asks for
// anything, for 15 s in each iteration. It reports what it takes then: kB of
// memory, as PSS in /proc/PID/smaps_rollup, and how often it was woken up, of
// which the first iteration has those of lying down.
func BenchmarkRest(b *testing.B) {
	// The workers' heartbeats would be events in a directory above the watched file.
	words := []string{"stablehand", "gunicorn", "--worker-tmp-dir=/dev/shm", "app:wsgi"}
	r := startReloaded(b, python(b, newest), "0", words)
	if _, err := r.await(regexp.MustCompile("msg=serving")); err != nil {
		b.Fatal(err)
	}
	pid := r.stablehand(b)
	before := switches(pid)
	for b.Loop() {
		time.Sleep(15 * time.Second)
	}
	rollup, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(sum(regexp.MustCompile(`(?m)^Pss: +(\d+)`), rollup)), "PSS-kB")
	b.ReportMetric(float64(switches(pid)-before)/float64(b.N), "wakeups/op")
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

// switches counts how often the threads of a process have given up a processor
// and so were woken up.
func switches(pid int) (n int) {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	for _, file := range files {
		status, _ := os.ReadFile(file)
		n += sum(regexp.MustCompile(`(?m)^voluntary_ctxt_switches:\s+(\d+)`), status)
	}
	return n
}

// sum adds up the numbers that a pattern finds.
func sum(number *regexp.Regexp, text []byte) (n int) {
	for _, found := range number.FindAllSubmatch(text, -1) {
		m, _ := strconv.Atoi(string(found[1]))
		n += m
	}
	return n
}
