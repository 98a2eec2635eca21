package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"time"

	"github.com/stablehand/stablehand/internal/proc"
)

// quick is the application of a site that is let be, and is then given a change that does
// not load.
var quick = application{"sleeping", 500 * time.Millisecond}

// brokenFor is how long a site is watched after such a change: longer than the fixed pauses
// of those that have one.
const brokenFor = 50 * time.Second

// standing is what a way takes while nobody asks for anything, and what it makes of a
// change that does not load.
type standing struct {
	Way       string
	Begun     time.Time
	Busy      float64
	Reason    string        `json:",omitempty"`
	Rested    time.Duration // how long it was watched
	CPU       time.Duration // of the way's own process meanwhile
	Anonymous uint64        // its memory in kB, and all that is resident
	Resident  uint64
	Manager   string // what its process is called

	Broken *seen  `json:",omitempty"` // around the change that does not load
	Ended  string `json:",omitempty"` // how it has ended by that
}

// stand has a site of each way stand at the same time.
func stand(ctx context.Context, o options, chosen []way) []standing {
	all := make([]standing, len(chosen))
	idle := busy()
	var started, rested, done sync.WaitGroup
	started.Add(len(chosen))
	rested.Add(len(chosen))
	for i, w := range chosen {
		done.Go(func() {
			all[i] = standing{Way: w.key, Begun: time.Now().UTC().Round(time.Second), Busy: idle}
			all[i].of(ctx, o, w, &started, &rested)
		})
	}
	done.Wait()
	return all
}

// of fills it in: the sites rest together, when all have started, and none is broken
// before all have rested.
func (r *standing) of(ctx context.Context, o options, w way, started, rested *sync.WaitGroup) {
	s, err := startSite(o, w, quick)
	started.Done()
	if err != nil {
		r.Reason = err.Error()
		rested.Done()
		return
	}
	defer s.end()
	started.Wait()
	time.Sleep(5 * settling)
	r.rest(s, o.rest)
	rested.Done()
	rested.Wait()
	if r.Reason != "" {
		return
	}
	watched := s.load(ctx, 4*o.every) // of all of them at the same time
	time.Sleep(before)
	watched.changed = time.Now()
	if err := s.change("broken"); err != nil {
		r.Reason = err.Error()
	}
	time.Sleep(brokenFor)
	r.Ended, _ = s.ended()
	r.Broken = watched.stop()
	if o.logs != "" {
		keepLog(o.logs, s, trial{Way: w.key + "-broken", Begun: r.Begun})
	}
}

// rest watches the way's own process.
func (r *standing) rest(s *site, long time.Duration) {
	began, cpu := time.Now(), ran(s.manager)
	time.Sleep(long)
	r.CPU, r.Rested = ran(s.manager)-cpu, time.Since(began).Round(time.Second)
	var err, err2 error
	r.Anonymous, err = kilobytes(s.manager, "RssAnon")
	r.Resident, err2 = kilobytes(s.manager, "VmRSS")
	if err != nil || err2 != nil {
		r.Reason = fmt.Sprintf("it has ended while nobody asked: %v", err)
	}
	r.Manager, _ = proc.Status(s.manager, "Name")
}

var inKB = regexp.MustCompile(`^(\d+) kB$`)

func kilobytes(pid int, field string) (uint64, error) {
	text, err := proc.Status(pid, field)
	if err != nil {
		return 0, err
	}
	found := inKB.FindStringSubmatch(text)
	if found == nil {
		return 0, fmt.Errorf("%s of process %d is %q", field, pid, text)
	}
	return strconv.ParseUint(found[1], 10, 64)
}

// ran is how long the threads of a process ran, of those that live.
func ran(pid int) (total time.Duration) {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	for _, task := range tasks {
		text, _ := os.ReadFile(task)
		var ns int64
		if _, err := fmt.Sscan(string(text), &ns); err == nil {
			total += time.Duration(ns)
		}
	}
	return total
}

// busy is how many processors others keep busy.
func busy() float64 {
	const look = time.Second
	ticks := func() (busy, all float64) {
		text, _ := os.ReadFile("/proc/stat")
		var n [8]float64
		var cpu string
		if _, err := fmt.Sscan(string(text), &cpu, &n[0], &n[1], &n[2], &n[3], &n[4], &n[5], &n[6], &n[7]); err != nil {
			return 0, 0
		}
		for i, t := range n {
			all += t
			if i != 3 && i != 4 { // idle, and waiting for a disk
				busy += t
			}
		}
		return busy, all
	}
	busyThen, allThen := ticks()
	time.Sleep(look)
	busyNow, allNow := ticks()
	return float64(processors()) * (busyNow - busyThen) / max(allNow-allThen, 1)
}
