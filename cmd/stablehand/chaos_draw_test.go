package main_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// steps are those of a life at which a fault can strike, in their order.
var steps = []string{"boot", "spawn", "warm", "soak", "retire", "promote", "stop"}

// plan is all that the seed of a round says.
type plan struct {
	seed    uint64
	env     string // virtual environment: which gunicorn
	class   string
	workers int
	preload bool
	below   bool // not PID 1, but below another
	other   bool // as a user who is not root
	hidepid bool // who sees no other user's processes
	bind    bool // stablehand opens the socket
	load    time.Duration
	soak    time.Duration
	ready   time.Duration // READY_TIMEOUT
	acts    []act         // the first is the boot
	recycle bool          // workers are replaced after some hundred requests
	leave   bool          // at last what is good on the disk is left as it is
	stop    string        // the signal that ends it
	ending  []strike      // what strikes while it stops
}

// act is a change, and what strikes during the handoff that comes of it.
type act struct {
	change  string // how it begins: see round.change
	strikes []strike
}

// strike is a fault at a step.
type strike struct {
	fault string
	step  string
	after time.Duration // since the step was reached
	hold  time.Duration // until what can be undone is undone
	count int
}

func (s strike) String() string {
	return fmt.Sprintf("%s@%s+%s", s.fault, s.step, s.after.Round(time.Millisecond))
}

// String is a round in one line.
func (p plan) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s×%d load=%s soak=%s ready=%s", p.env, p.class, p.workers, p.load, p.soak, p.ready)
	for _, is := range []struct {
		it   bool
		word string
	}{{p.recycle, "recycle"}, {p.leave, "leave"}, {p.preload, "preload"}, {p.below, "below"}, {p.other, "other"}, {p.hidepid, "hidepid"}, {p.bind, "bind"}} {
		if is.it {
			fmt.Fprintf(&b, " %s", is.word)
		}
	}
	for _, a := range p.acts {
		fmt.Fprintf(&b, "; %s %v", a.change, a.strikes)
	}
	fmt.Fprintf(&b, "; %s %v", p.stop, p.ending)
	return b.String()
}

// fault is something that goes wrong.
type fault struct {
	name   string
	steps  string // at which it strikes; a change has none
	change bool   // it is the change itself that is wrong
	needs  bool   // what is on disk has to load meanwhile, unless it is preloaded: workers are replaced
	spoils bool   // what is on disk does not load for a while
	below  bool   // only where stablehand is not PID 1
	other  bool   // only as a user who is not root
	halts  bool   // what it stops may outlast READY_TIMEOUT
	sync   bool   // only with workers that start no threads
	weight int    // how much more often than others it is drawn
	strike func(r *round, s strike)
}

const (
	handoffSteps = "spawn warm soak retire promote"
	allSteps     = "boot " + handoffSteps + " stop"
)

// faults are filled in by init: what they do leads back to them.
var faults []fault

func init() {
	faults = []fault{
		{name: "kill-successor", steps: allSteps, strike: on("successor", killMaster)},
		{name: "kill-successor-workers", steps: allSteps, needs: true, strike: on("successor", killWorkers)},
		{name: "kill-successor-all", steps: allSteps, strike: on("successor", killAll)},
		{name: "kill-old", steps: handoffSteps + " stop", strike: on("old", killMaster)},
		{name: "kill-old-workers", steps: handoffSteps + " stop", needs: true, strike: on("old", killWorkers)},
		{name: "kill-old-all", steps: handoffSteps, strike: on("old", killAll)},
		{name: "kill-both", steps: handoffSteps, strike: on("both", killMaster)},
		{name: "stop-successor", steps: allSteps, halts: true, strike: on("successor", stopMaster)},
		{name: "stop-successor-workers", steps: allSteps, strike: on("successor", stopWorkers)},
		{name: "stop-old", steps: handoffSteps, halts: true, strike: on("old", stopMaster)},
		{name: "stop-old-workers", steps: handoffSteps, strike: on("old", stopWorkers)},
		{name: "stop-both", steps: handoffSteps, halts: true, strike: on("both", stopMaster)},
		{name: "stop-stablehand", steps: allSteps, strike: halt},
		{name: "hang", change: true},
		{name: "exit-1", change: true},
		{name: "exit-1-worker", change: true},
		{name: "exit-3", change: true},
		{name: "exit-4", change: true},
		{name: "restart", steps: handoffSteps, below: true, weight: 4, strike: restart},
		{name: "restart-twice", steps: handoffSteps, below: true, weight: 2, strike: restartTwice},
		{name: "restart-changed", steps: handoffSteps, below: true, weight: 2, strike: restartChanged},
		{name: "TERM", steps: allSteps, strike: order(unix.SIGTERM)},
		{name: "INT", steps: allSteps, strike: order(unix.SIGINT)},
		{name: "QUIT", steps: allSteps, strike: order(unix.SIGQUIT)},
		{name: "HUPs", steps: allSteps, strike: hangUps},
		{name: "flap", steps: handoffSteps, spoils: true, strike: flap},
		{name: "back", steps: "spawn warm soak retire", weight: 2, strike: back},
		{name: "remake", steps: handoffSteps, spoils: true, strike: remake},
		{name: "disk", steps: allSteps, strike: fillDisk},
		{name: "nofile", steps: allSteps, strike: starve},
		{name: "nofile-old", steps: handoffSteps, strike: on("old", starveMaster)},
		{name: "pids", steps: allSteps, sync: true, strike: crowd},
		{name: "nproc", steps: allSteps, other: true, strike: crowdUser},
	}
}

func faultNamed(name string) fault {
	i := slices.IndexFunc(faults, func(f fault) bool { return f.name == name })
	return faults[i]
}

// draw makes a plan of a seed.
func draw(seed uint64) plan {
	rnd := rand.New(rand.NewPCG(seed, 0))
	of := func(list ...string) string { return list[rnd.IntN(len(list))] }
	chance := func(percent int) bool { return rnd.IntN(100) < percent }
	upTo := func(d time.Duration) time.Duration {
		return time.Duration(rnd.Int64N(int64(d)/1e6+1)) * time.Millisecond
	}

	p := plan{
		seed:    seed,
		env:     of(oldest, oldest, newest, newest, newest, "gunicorn-21.2.0", "gunicorn-22.0.0", "gunicorn-23.0.0", "gunicorn-25.3.0", "gunicorn-26.1.0"),
		class:   "sync",
		workers: 1 + rnd.IntN(4),
		preload: chance(30),
		below:   chance(50),
		other:   chance(25),
		load:    upTo(time.Second),
		ready:   20 * time.Second,
		stop:    of("TERM", "TERM", "INT", "QUIT"),
	}
	if chance(50) {
		p.soak = upTo(1500 * time.Millisecond)
	}
	p.hidepid = p.other && chance(40)
	if p.env == newest && chance(40) {
		p.class = "gthread" // older ones drop requests that they have read
	}
	p.acts = []act{{change: "good"}}
	p.leave = chance(50)
	var weighed []fault
	for _, f := range faults {
		for range max(1, f.weight) {
			weighed = append(weighed, f)
		}
	}
	for range 1 + rnd.IntN(3) {
		p.add(rnd, weighed[rnd.IntN(len(weighed))], chance(50))
	}
	if len(p.acts) == 1 {
		p.acts = append(p.acts, act{change: "good"})
	}
	if slices.ContainsFunc(p.acts, func(a act) bool { return a.change == "hang" }) {
		p.ready = short // the next change may wait for it
	}
	if p.class == "sync" && (p.preload || !p.unsound()) {
		p.recycle = chance(20)
	}
	p.bind = chance(50)
	return p
}

// add draws where a fault strikes, in the last handoff so far or in one more. One
// that does not fit the round is left out.
func (p *plan) add(rnd *rand.Rand, f fault, together bool) {
	if f.below && !p.below || f.other && !p.other || f.sync && p.class != "sync" {
		return
	}
	after := time.Duration(rnd.IntN(300)) * time.Millisecond
	if f.halts && rnd.IntN(4) == 0 {
		p.ready = short
	}
	s := strike{fault: f.name, after: after, hold: time.Duration(300+rnd.IntN(3000)) * time.Millisecond, count: rnd.IntN(4)}
	if f.halts && p.ready == short {
		s.hold = short + 1500*time.Millisecond
	}
	if f.change {
		p.acts = append(p.acts, act{change: f.name})
		return
	}
	at := strings.Fields(f.steps)
	s.step = at[rnd.IntN(len(at))]
	switch s.step {
	case "boot":
		s.hold = min(s.hold, time.Second) // it has to get ready
		p.acts[0].strikes = append(p.acts[0].strikes, s)
		return
	case "stop":
		p.ending = append(p.ending, s)
		return
	case "warm":
		s.after = time.Duration(rnd.Int64N(int64(p.load + 300*time.Millisecond)))
	case "soak":
		s.after = min(s.after, p.soak/2)
	}
	last := &p.acts[len(p.acts)-1]
	if len(p.acts) == 1 || !together || !p.preload && (f.needs && last.spoiled() || f.spoils && last.needed()) {
		change := []string{"good", "good", "HUP"}[rnd.IntN(3)]
		if f.needs && last.spoiled() {
			change = "good"
		}
		p.acts = append(p.acts, act{change: change})
		last = &p.acts[len(p.acts)-1]
	}
	last.strikes = append(last.strikes, s)
	slices.SortStableFunc(last.strikes, func(a, b strike) int {
		return slices.Index(steps, a.step) - slices.Index(steps, b.step)
	})
}

// short is a READY_TIMEOUT for what is to outlast it.
const short = 12 * time.Second

// unsound says whether there is content that does not load at any time.
func (p *plan) unsound() bool { return slices.ContainsFunc(p.acts, act.spoiled) }

// spoiled says whether what is on disk may not load at any time of the act.
func (a act) spoiled() bool {
	return a.change != "good" && a.change != "HUP" ||
		slices.ContainsFunc(a.strikes, func(s strike) bool { return faultNamed(s.fault).spoils })
}

// needed says whether what is on disk has to load in the act.
func (a act) needed() bool {
	return slices.ContainsFunc(a.strikes, func(s strike) bool { return faultNamed(s.fault).needs })
}
