// Command bench compares ways of reloading: it starts the same application in each of
// them, puts it under the same load, changes its version, tells it to reload, and says
// what the clients saw.
//
//	bench [-ways KEY,...] [-apps BY:DURATION,...] [-repeat N] [-rest DURATION] ...
//	bench -inits [-rest DURATION] [-orphans N]     what PID 1 costs, beside other inits
//	bench -long [-handoffs N] [-requests N] ...    many handoffs of each worker class
//
// Each reload is one of a fresh site, and they take turns: every way once, then every way
// again. What was seen is kept in a file, a line of JSON for each, and -resume goes on
// with it. At the end there are tables, of medians with the least and the most in
// parentheses, and a picture.
//
// The load is paced and does not give way: each client asks every so often, and what is due
// while it waits counts from when it was due. The sites run on loopback, each in a PID
// namespace of its own.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// options are the flags.
type options struct {
	stablehand, envs       string
	ways                   []way
	apps                   []application
	repeat, workers        int
	orphans                int
	long                   bool
	longWays, longEnv      string
	handoffs, requests     int
	marathon               int
	rest, every            time.Duration
	results, page, picture string
	logs                   string
	resume, show, inits    bool
}

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	defer cancel()
	if signal.Ignored(unix.SIGHUP) {
		// As nohup has it: a shell that starts with it ignored could not be told to reload.
		signal.Notify(make(chan os.Signal, 1), unix.SIGHUP)
	}
	o, err := readFlags()
	switch {
	case err != nil:
	case o.inits:
		err = compareInits(ctx, o)
	case o.long:
		o.workers = 1 // to be awaited: they have as many as their words say
		err = runLong(ctx, o)
	default:
		err = run(ctx, o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func readFlags() (o options, err error) {
	flag.StringVar(&o.stablehand, "stablehand", "bin/stablehand", "the binary")
	flag.StringVar(&o.envs, "envs", ".cache/bench", "where the virtual environments are")
	keys := flag.String("ways", "", "only these, by their keys: "+strings.Join(keysOf(ways), ", "))
	apps := flag.String("apps", "sleeping:5s,computing:5s,sleeping:500ms,computing:500ms", "how the application loads, and how long")
	flag.IntVar(&o.repeat, "repeat", 3, "how often each is tried")
	flag.IntVar(&o.workers, "workers", 4, "of each site")
	flag.DurationVar(&o.rest, "rest", time.Minute, "how long the sites rest; with 0s they do not, and get no change that does not load")
	flag.DurationVar(&o.every, "every", 40*time.Millisecond, "how often each of the 16 clients asks, or of 8 with -long")
	flag.StringVar(&o.results, "results", "", "the file with what was seen, by default results.jsonl, or long.jsonl, below -envs")
	flag.StringVar(&o.page, "page", "", "the page to put the tables into")
	flag.StringVar(&o.picture, "picture", ".cache/bench/bench.svg", "the picture")
	flag.StringVar(&o.logs, "logs", "", "a directory for the logs of the sites")
	flag.BoolVar(&o.resume, "resume", false, "go on with what is in the file")
	flag.BoolVar(&o.show, "show", false, "only show what is in the file")
	flag.BoolVar(&o.inits, "inits", false, "compare what PID 1 costs instead")
	flag.IntVar(&o.orphans, "orphans", 10000, "how many orphans end at once there")
	flag.BoolVar(&o.long, "long", false, "have each worker class hand over often instead, going on with what is in the file")
	flag.StringVar(&o.longWays, "classes", "", "only these, as gevent/USR2,sync/BIND,sync/BIND/in-one-go")
	flag.StringVar(&o.longEnv, "class-env", "../py/workers", "their virtual environment, below -envs")
	flag.IntVar(&o.handoffs, "handoffs", manyHandoffs, "how often each hands over there at the least")
	flag.IntVar(&o.requests, "requests", manyRequests, "how many requests are answered meanwhile at the least")
	flag.IntVar(&o.marathon, "in-one-go", manyInOneGo, "how often one of them hands over in one go")
	flag.Parse()
	if o.results == "" {
		o.results = filepath.Join(o.envs, map[bool]string{false: "results.jsonl", true: "long.jsonl"}[o.long])
	}
	o.stablehand = absolute(o.stablehand)
	o.ways = ways
	if *keys != "" {
		o.ways = slices.DeleteFunc(slices.Clone(ways), func(w way) bool { return !slices.Contains(strings.Split(*keys, ","), w.key) })
		if len(o.ways) < len(strings.Split(*keys, ",")) {
			return o, fmt.Errorf("-ways: there is none of %s", *keys)
		}
	}
	for _, word := range strings.Split(*apps, ",") {
		by, long, _ := strings.Cut(word, ":")
		d, err := time.ParseDuration(long)
		if err != nil || by != "sleeping" && by != "computing" {
			return o, fmt.Errorf("-apps: %q is not sleeping:DURATION or computing:DURATION", word)
		}
		o.apps = append(o.apps, application{by, d})
	}
	return o, nil
}

func keysOf(ways []way) (keys []string) {
	for _, w := range ways {
		keys = append(keys, w.key)
	}
	return keys
}

// run measures what is not there yet, and shows all.
func run(ctx context.Context, o options) error {
	if err := o.placesAreThere(); err != nil {
		return err
	}
	if !o.show {
		if err := measure(ctx, o); err != nil {
			return err
		}
	}
	r, err := readResults(o.results)
	if err != nil {
		return err
	}
	return r.show(o)
}

// placesAreThere says before hours of work whether the page has a place for what comes of
// it.
func (o options) placesAreThere() error {
	if o.page == "" {
		return nil
	}
	names := []string{}
	for _, app := range o.apps {
		names = append(names, app.String())
	}
	if o.rest > 0 {
		names = append(names, atRest)
	}
	for _, name := range names {
		if _, _, err := placeIn(o.page, name); err != nil {
			return err
		}
	}
	return nil
}

func measure(ctx context.Context, o options) error {
	r := &results{}
	if o.resume {
		var err error
		if r, err = readResults(o.results); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	} else if err := os.Remove(o.results); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := record(o.results, entry{Machine: thisMachine(o)}); err != nil {
		return err
	}
	if err := tryAll(ctx, o, r); err != nil {
		return err
	}
	rest := slices.DeleteFunc(slices.Clone(o.ways), func(w way) bool { return r.standing(w) != nil })
	if o.rest == 0 || len(rest) == 0 {
		return nil
	}
	fmt.Fprintf(os.Stderr, "%d sites rest for %s, and then get a change that does not load\n", len(rest), o.rest)
	for _, s := range stand(ctx, o, rest) {
		if err := record(o.results, entry{Standing: &s}); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// tryAll tries each way, and none, in turns, each time beginning with another.
func tryAll(ctx context.Context, o options, r *results) error {
	turns := append(slices.Clone(o.ways), none)
	for round := range o.repeat {
		for _, app := range o.apps {
			for i := range turns {
				w := turns[(i+round)%len(turns)]
				if r.tried(w, app, round) {
					continue
				}
				t := try(ctx, o, w, app)
				if ctx.Err() != nil {
					return ctx.Err()
				}
				t.Round = round
				fmt.Fprintf(os.Stderr, "%d of %d, %s, %s: %s\n", round+1, o.repeat, app, w.key, t)
				if err := record(o.results, entry{Trial: &t}); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (t trial) String() string {
	if t.Reason != "" {
		return t.Reason
	}
	s := t.Seen
	seconds := func(value float64) string { return spread([]float64{value}, "%.2f", " s") }
	return fmt.Sprintf("failed %s; kept %s; silence %s, first new %s, only new %s", s.New, s.Kept, seconds(s.Silence), seconds(s.FirstNew), seconds(s.OnlyNew))
}

func processors() int { return runtime.NumCPU() }
