package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/stablehand/stablehand/internal/load"
)

// application is one that takes its time to load.
type application struct {
	by   string // sleeping or computing
	load time.Duration
}

func (a application) String() string { return fmt.Sprintf("%g s by %s", a.load.Seconds(), a.by) }

const (
	settling = 2 * time.Second // after the start, before anybody asks
	before   = 5 * time.Second // of load before the change
	after    = 6 * time.Second // in which no old answer has come: it is over

	// reloadPatience is how long a reload may take, beside what the application takes to
	// load in each worker. The slowest have a fixed pause of half a minute, or replace one
	// worker after another.
	reloadPatience = 45 * time.Second

	// weighing is the pause between two looks at the memory of a site, which take the
	// kernel some ms.
	weighing = 500 * time.Millisecond
)

// trial is one reload under load, and what came of it.
type trial struct {
	Way, App string
	Round    int
	Begun    time.Time
	Busy     float64 // processors that others kept busy just before
	Reason   string  `json:",omitempty"` // why there was none
	Seen     *seen   `json:",omitempty"`
	Peak     int64   `json:",omitempty"` // memory of all its processes at the most, in bytes
	Start    float64 `json:",omitempty"` // how many seconds another site took to start beside it
}

// try starts a site, and reloads it once.
func try(ctx context.Context, o options, w way, app application) (t trial) {
	t = trial{Way: w.key, App: app.String(), Begun: time.Now().UTC().Round(time.Second), Busy: busy()}
	s, err := startSite(o, w, app)
	if err != nil {
		t.Reason = err.Error()
		return t
	}
	defer s.end()
	time.Sleep(settling)
	peak := watchMemory(s)
	watched := s.load(ctx, o.every)
	time.Sleep(before)
	watched.changed = time.Now()
	if w.key == none.key {
		t.Start, err = startBeside(o, app)
	} else {
		err = s.reload(o, watched)
	}
	if err != nil {
		t.Reason = err.Error()
		return t
	}
	t.Seen, t.Peak = watched.stop(), peak()
	if o.logs != "" {
		keepLog(o.logs, s, t)
	}
	return t
}

// reload has a site reload, and waits until that is over.
func (s *site) reload(o options, watched *watched) error {
	if err := s.change("v2"); err != nil {
		return err
	}
	for end := watched.changed.Add(reloadPatience + time.Duration(o.workers)*s.app.load); time.Now().Before(end) && !watched.over(); time.Sleep(100 * time.Millisecond) {
	}
	return nil
}

// startBeside starts another site, and ends it a while later. It says how many seconds that
// took to start: the least that any reload can take.
func startBeside(o options, app application) (took float64, err error) {
	began := time.Now()
	s, err := startSite(o, beside, app)
	if err != nil {
		return 0, err
	}
	took = time.Since(began).Seconds()
	time.Sleep(settling)
	s.end()
	return took, nil
}

// change writes a version, and tells the site where it has to be told.
func (s *site) change(version string) error {
	if err := s.write(version); err != nil {
		return err
	}
	return s.way.tell(s)
}

// load puts a site under load: half of the clients with a connection for each request,
// half with one that they keep.
func (s *site) load(ctx context.Context, every time.Duration) *watched {
	w := &watched{old: "v1"}
	w.runs = s.clients(ctx, 8, every, func(i int) func(load.Request) { return func(r load.Request) { w.add(i, r) } })
	return w
}

// clients has so many of each kind ask, and tells of each request.
func (s *site) clients(ctx context.Context, clients int, every time.Duration, each func(i int) func(load.Request)) (runs []*load.Run) {
	for i, kept := range []bool{false, true} {
		runs = append(runs, load.Start(ctx, load.Options{URL: "http://" + s.address() + "/", KeepAlive: kept, Clients: clients, Every: every, Each: each(i)}))
	}
	return runs
}

// watchMemory looks at the site's memory until the function that it returns is called,
// which tells the most that there was.
func watchMemory(s *site) (peak func() int64) {
	stop, done := make(chan struct{}), make(chan int64)
	go func() {
		var most int64
		for {
			most = max(most, s.memory())
			select {
			case <-stop:
				done <- most
				return
			case <-time.After(weighing):
			}
		}
	}()
	return func() int64 {
		close(stop)
		return <-done
	}
}

// keepLog copies what the site has logged.
func keepLog(dir string, s *site, t trial) {
	name := fmt.Sprintf("%s/%s-%s-%s.log", dir, t.Begun.Format("150405"), t.Way, s.app.by)
	if err := os.WriteFile(name, []byte(s.logged()), 0o644); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
	}
}
