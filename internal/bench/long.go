package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stablehand/stablehand/internal/load"
	"github.com/stablehand/stablehand/internal/proc"
)

// class is a worker class of gunicorn's.
type class struct {
	name, words string
	races       bool // by USR2 it may lose what it has accepted and not read, as uvicorn's do, or have no dirty workers yet
}

// classes are all of them.
var classes = []class{
	{"sync", "app:wsgi", false},
	{"gthread", "--worker-class=gthread --threads=4 app:wsgi", false},
	{"gevent", "--worker-class=gevent app:wsgi", false},
	{"tornado", "--worker-class=tornado app:wsgi", false},
	{"asgi", "--worker-class=asgi app:asgi", false},
	{"dirty", "--dirty-app=dirtied:Version --dirty-workers=2 dirtied:wsgi", true},
	{"uvloop", "--worker-class=uvicorn_worker.UvicornWorker app:asgi", true},
	{"asyncio", "--worker-class=uvicorn_worker.UvicornH11Worker app:asgi", true},
}

// course is what a way is to do, in stretches, each of a new site.
type course struct {
	way
	handoffs, requests int           // at the least
	stretch            int           // handoffs
	every              time.Duration // each client asks
}

// courses are all of them: each class with BIND, and by USR2; and the first class, both
// ways, in one go, for which clients take their time: what counts there is what is left
// behind.
func courses(o options) (all []course) {
	for _, c := range classes {
		words := "stablehand gunicorn --workers=3 " + c.words
		for _, w := range []way{
			{key: c.name + byBind, words: words, vars: []string{"STABLEHAND_BIND=$HOST:$PORT"}},
			{key: c.name + byUSR2, words: words + " --bind=$HOST:$PORT"},
		} {
			w.name, w.env, w.first = w.key, o.longEnv, true
			all = append(all, course{way: w, handoffs: o.handoffs, requests: o.requests, stretch: min(stretchLength, o.handoffs), every: o.every})
		}
	}
	for _, c := range all[:2] {
		c.key += inOneGo
		all = append(all, course{way: c.way, handoffs: o.marathon, stretch: o.marathon, every: unhurried})
	}
	return all
}

// stretch is some handoffs of a site under load, and what they took.
type stretch struct {
	Way       string
	Begun     time.Time
	Took      time.Duration
	Handoffs  int
	New, Kept failures
	Weights   []weight // after the first handoff, and then every so often
	Reason    string   `json:",omitempty"`
}

// weight is what stablehand itself takes.
type weight struct {
	Handoffs, Files, Threads, Processes int
	Goroutines                          int
	Anonymous                           uint64 // kB
}

const (
	stretchLength = 50        // handoffs of a site, before it is begun anew
	manyRequests  = 1_000_000 // that each way is to answer
	manyHandoffs  = 200       // of each
	manyInOneGo   = 1000      // of one
	weighEvery    = 10        // handoffs
	looksToldOf   = 5         // at the beginning, and at the end
	unhurried     = 40 * time.Millisecond

	byBind, byUSR2 = "/BIND", "/USR2" // behind the key of a class

	inOneGo = "/in-one-go" // behind the key of a way that hands over so often without a new start
)

// runLong has each way do what it is to do, and goes on with what the file has.
func runLong(ctx context.Context, o options) error {
	all, err := readStretches(o.results)
	if err != nil {
		return err
	}
	chosen := courses(o)
	if o.longWays != "" {
		keys := strings.Split(o.longWays, ",")
		chosen = slices.DeleteFunc(chosen, func(c course) bool { return !slices.Contains(keys, c.key) })
		if len(chosen) < len(keys) {
			return fmt.Errorf("-classes: there is none of %s", o.longWays)
		}
	}
	if o.show {
		chosen = nil
	}
	for _, c := range chosen {
		for sum := sumOf(all, c.key); sum.Handoffs < c.handoffs || sum.New.Requests+sum.Kept.Requests < c.requests; sum = sumOf(all, c.key) {
			s, err := goOn(ctx, o, c)
			if err != nil {
				return err
			}
			all = append(all, s)
		}
	}
	text := longTable(all)
	fmt.Print(text)
	if o.page == "" {
		return nil
	}
	return putInto(o.page, "long", text)
}

// goOn adds a stretch to the file.
func goOn(ctx context.Context, o options, c course) (stretch, error) {
	s := runStretch(ctx, o, c)
	if ctx.Err() != nil {
		return s, ctx.Err()
	}
	fmt.Fprintf(os.Stderr, "%s: %d handoffs in %s, failed %s; %s %s\n", c.key, s.Handoffs, s.Took, s.New, s.Kept, s.Reason)
	line, err := json.Marshal(s)
	if err != nil {
		return s, err
	}
	if err := appendLine(o.results, line); err != nil {
		return s, err
	}
	if s.Reason != "" {
		return s, fmt.Errorf("%s: %s", c.key, s.Reason)
	}
	return s, nil
}

func readStretches(path string) (all []stretch, err error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	for line := range bytes.Lines(text) {
		var s stretch
		if err := json.Unmarshal(line, &s); err != nil {
			return nil, fmt.Errorf("read %s: %w", path, err)
		}
		if s.Reason == "" {
			all = append(all, s)
		}
	}
	return all, err
}

// runStretch has one site hand over under the load of 8 clients, half of them with
// connections that they keep.
func runStretch(ctx context.Context, o options, c course) (r stretch) {
	r = stretch{Way: c.key, Begun: time.Now().UTC().Round(time.Second)}
	s, err := startSite(o, c.way, application{"sleeping", 0})
	if err != nil {
		r.Reason = err.Error()
		return r
	}
	defer s.end()
	if err := s.awaitLine("msg=serving", 0); err != nil {
		r.Reason = err.Error()
		return r
	}
	counted := s.count(ctx, c.every)
	begun := time.Now()
	for ; r.Handoffs < c.stretch && ctx.Err() == nil; r.Handoffs++ {
		if err := s.handOff(); err != nil {
			r.Reason = err.Error()
			break
		}
		if r.Handoffs%weighEvery == 0 || r.Handoffs == c.stretch-1 {
			r.Weights = append(r.Weights, s.weigh(r.Handoffs+1))
		}
	}
	r.Took = time.Since(begun).Round(time.Second)
	r.New, r.Kept = counted()
	if o.logs != "" {
		keepLog(o.logs, s, trial{Way: strings.ReplaceAll(c.key, "/", "-"), Begun: r.Begun})
	}
	return r
}

// handOff has a site hand over, and returns when the old generation has gone.
func (s *site) handOff() error {
	info, err := os.Stat(s.log())
	if err != nil {
		return err
	}
	if err := unix.Kill(s.manager, unix.SIGHUP); err != nil {
		return err
	}
	return errors.Join(s.awaitLine(`msg="handed off"`, info.Size()), s.awaitLine("msg=retired", info.Size()))
}

// awaitLine waits for a text in what the log has after so many bytes.
func (s *site) awaitLine(text string, after int64) error {
	return s.await(text+" in the log", func() bool {
		log, err := os.Open(s.log())
		if err != nil {
			return false
		}
		defer log.Close()
		rest, err := io.ReadAll(io.NewSectionReader(log, after, 1<<20))
		return err == nil && bytes.Contains(rest, []byte(text))
	})
}

// weigh looks at stablehand itself.
func (s *site) weigh(handoffs int) weight {
	w := weight{Handoffs: handoffs, Processes: len(s.processes())}
	if files, err := proc.Descriptors(s.manager); err == nil {
		w.Files = len(files)
	}
	if threads, err := proc.Count(s.manager, "Threads"); err == nil {
		w.Threads = int(threads)
	}
	w.Anonymous, _ = kilobytes(s.manager, "RssAnon") // 0 would be seen in the table
	w.Goroutines = s.goroutines()
	return w
}

var goroutines = regexp.MustCompile(`(?m)^go_goroutines (\d+)$`)

// goroutines are stablehand's, as it tells itself; 0 where it does not.
func (s *site) goroutines() (n int) {
	client := http.Client{Timeout: startPatience, Transport: &http.Transport{DisableKeepAlives: true, DialContext: load.Unix(s.control())}}
	answer, err := client.Get("http://stablehand/metrics")
	if err != nil {
		return 0
	}
	defer answer.Body.Close()
	text, _ := io.ReadAll(answer.Body) // without all of it there is no such line
	if found := goroutines.FindSubmatch(text); found != nil {
		n, _ = strconv.Atoi(string(found[1])) // they are digits
	}
	return n
}

func sumOf(all []stretch, key string) (sum stretch) {
	for _, s := range all {
		if s.Way != key {
			continue
		}
		sum.Handoffs += s.Handoffs
		sum.Took += s.Took
		sum.New.add(s.New)
		sum.Kept.add(s.Kept)
		sum.Weights = append(sum.Weights, s.Weights...)
	}
	return sum
}

// totalOf tells of all classes by one way, or of those that do not race.
func totalOf(all []stretch, way string, without bool) string {
	var total failures
	handoffs := 0
	for _, c := range classes {
		for _, key := range []string{c.name + way, c.name + way + inOneGo} {
			if c.races && without {
				continue
			}
			sum := sumOf(all, key)
			total.add(sum.New)
			total.add(sum.Kept)
			handoffs += sum.Handoffs
		}
	}
	return fmt.Sprintf("failed %s, over %d handoffs", total, handoffs)
}

func longTable(all []stretch) string {
	var b strings.Builder
	row(&b, "worker class, way", "handoffs", "failed, new connections", "failed, kept ones", "sent again", "descriptors", "threads", "goroutines", "anonymous memory")
	row(&b, slices.Repeat([]string{"---"}, 9)...)
	var keys []string
	for _, s := range all {
		if !slices.Contains(keys, s.Way) {
			keys = append(keys, s.Way)
		}
	}
	for _, key := range keys {
		sum := sumOf(all, key)
		of := func(value func(weight) int, unit string) string {
			var seen []float64
			for _, w := range sum.Weights {
				seen = append(seen, float64(value(w)))
			}
			n := min(looksToldOf, len(seen))
			return fmt.Sprintf("%.0f → %.0f%s", medianOf(seen[:n]), medianOf(seen[len(seen)-n:]), unit)
		}
		row(&b, key, fmt.Sprint(sum.Handoffs), sum.New.String(), sum.Kept.String(), fmt.Sprint(sum.Kept.Again),
			of(func(w weight) int { return w.Files }, ""), of(func(w weight) int { return w.Threads }, ""),
			of(func(w weight) int { return w.Goroutines }, ""), of(func(w weight) int { return int(w.Anonymous) }, " kB"))
	}
	fmt.Fprintf(&b, "\nIn all, with BIND: %s. By USR2, without uvicorn's and dirty workers: %s.\n", totalOf(all, byBind, false), totalOf(all, byUSR2, true))
	fmt.Fprintf(&b, "\nThe goal is %d requests over %d handoffs each, and %d handoffs of the first class in one go, both ways; this is how far it got. The last four columns are of stablehand itself, which is looked at each %d handoffs: the medians of the first %d looks and of the last.\n", manyRequests, manyHandoffs, manyInOneGo, weighEvery, looksToldOf)
	return b.String()
}

// count has clients ask every so often until the function that it returns is called, and
// counts only, since it may be long.
func (s *site) count(ctx context.Context, every time.Duration) func() (fresh, kept failures) {
	var counts [2]counter
	runs := s.clients(ctx, 4, every, func(i int) func(load.Request) { return counts[i].add })
	return func() (fresh, kept failures) {
		for _, run := range runs {
			run.Stop()
		}
		return counts[0].sum, counts[1].sum
	}
}
