package cluster

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	fleet    = 10              // pods
	loadTime = 5 * time.Second // of the application, as in the simulation
)

// TestAFleetChanges has ten pods change at once, with the example's JITTER, as TestFleet
// of package life simulates it.
func TestAFleetChanges(t *testing.T) {
	good := slow(loadTime) + "workers = 1\n"
	s := newSiteOf(t, good, replicas(fleet), modest)
	for _, change := range []struct {
		what, content, greeting string
		applies                 func(*site)
	}{
		{"by itself", good, "Hello, by itself", (*site).apply},
		{"annotated", good, "Hello, annotated", (*site).change},
		{"broken, annotated", good + "raise ValueError(\"broken\")\n", "", (*site).change},
		{"mended, annotated", good, "Hello, mended", (*site).change},
	} {
		began, before := time.Now(), anonymous()
		most := mostAnonymous(t.Context())
		s.unharmed(fmt.Sprintf("%d pods: %s", fleet, change.what), func() {
			s.configure(map[string]string{"gunicorn.conf.py": change.content, "greeting": change.greeting})
			change.applies(s)
			if change.greeting == "" {
				s.says(1, `msg="rolled back"`)
				s.until("a second try of each", func() error { return s.tried(began, 2) })
				return
			}
			s.serves(change.greeting)
		})
		took := time.Since(began)
		loads, beside := s.handoffs(began)
		t.Logf("clients saw, %d pods, %s: load at once %d, all of it after %s, tries %d, in memory beside %d; %d MiB before, %d MiB at most",
			fleet, change.what, atOnce(loads), took.Round(100*time.Millisecond), len(loads), atOnce(beside), before>>20, most()>>20)
	}
	if n := s.restarts(); n != 0 {
		t.Errorf("containers were started again %d times", n)
	}
}

// tried is an error until each pod has tried so often to hand over since a moment.
func (s *site) tried(since time.Time, n int) error {
	loads, _ := s.handoffs(since)
	if len(loads) < n*fleet {
		return fmt.Errorf("%d of %d", len(loads), n*fleet)
	}
	return nil
}

// span is when something was there.
type span struct{ from, to time.Time }

// handoffs are when successors loaded, and when there were two generations in a pod, as
// the logs of all pods have it since a moment.
func (s *site) handoffs(since time.Time) (loads, beside []span) {
	s.t.Helper()
	for _, pod := range s.pods() {
		log, err := s.log(pod.Name)
		if err != nil {
			s.t.Fatal(err)
		}
		loads = append(loads, spans(log, since, "msg=warmed", `msg="rolled back"`)...)
		beside = append(beside, spans(log, since, "msg=retired", `msg="rolled back"`)...)
	}
	return loads, beside
}

// spans are from each beginning of a handoff to the next line that has one of some parts.
func spans(log string, since time.Time, ends ...string) (all []span) {
	open := false
	for line := range strings.Lines(log) {
		stamp, _, _ := strings.Cut(line, " ")
		at, err := time.Parse(time.RFC3339Nano, stamp)
		switch {
		case err != nil || at.Before(since):
		case strings.Contains(line, "msg=handoff "):
			all, open = append(all, span{at, time.Now()}), true
		case open && slices.ContainsFunc(ends, func(end string) bool { return strings.Contains(line, end) }):
			all[len(all)-1].to, open = at, false
		}
	}
	return all
}

// atOnce is the most of them that there were at one moment.
func atOnce(all []span) (most int) {
	type edge struct {
		at   time.Time
		step int
	}
	var edges []edge
	for _, one := range all {
		edges = append(edges, edge{one.from, 1}, edge{one.to, -1})
	}
	slices.SortFunc(edges, func(a, b edge) int { return cmp.Or(a.at.Compare(b.at), a.step-b.step) })
	now := 0
	for _, e := range edges {
		now += e.step
		most = max(most, now)
	}
	return most
}

// anonymous is how much memory all pods take, without cached files.
func anonymous() int64 {
	n, _ := readNumber("/sys/fs/cgroup/memory/kubepods", "memory.stat", "total_rss ")
	return n
}

// mostAnonymous looks how much it is, until what it returns is called, which returns the
// most.
func mostAnonymous(ctx context.Context) (stop func() int64) {
	ctx, cancel := context.WithCancel(ctx)
	most := make(chan int64, 1)
	go func() {
		var seen int64
		for ctx.Err() == nil {
			seen = max(seen, anonymous())
			time.Sleep(100 * time.Millisecond)
		}
		most <- seen
	}()
	return func() int64 { cancel(); return <-most }
}
