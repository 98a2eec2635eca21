package life_test

import (
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stablehand/stablehand/entrypoint/life"
)

var (
	fleets   = flag.String("fleets", "10,100", "of how many pods the fleets of TestFleet are")
	compared = flag.String("compared", "10", "the same, of those in which one thing is different")
	picture  = flag.String("picture", "", "the file in which TestFleet draws how 1,000 pods fare; empty: none")
)

// span is what was seen of something, from the least to the most. docs/fleet.md says
// where each is from.
type span [2]time.Duration

func (s span) draw(r *rand.Rand) time.Duration {
	return s[0] + time.Duration(r.Int64N(int64(s[1]-s[0])+1))
}

var (
	warms   = span{5600 * time.Millisecond, 6330 * time.Millisecond} // Python, and an application that takes 5 s
	holds   = span{52 * time.Millisecond, 100 * time.Millisecond}    // an old generation, its connections
	retires = span{571 * time.Millisecond, 1436 * time.Millisecond}  // the same, from TERM to its end

	// From apply to the file in the pod: as it was seen, and after an annotation.
	updates   = span{58 * time.Second, 80 * time.Second}
	annotated = span{300 * time.Millisecond, 300 * time.Millisecond}
)

const (
	stopDelay = 10 * time.Second // as in examples/kubernetes
	brokenFor = 10 * time.Minute // until somebody mends it
)

// updatesAnyTime is from apply to the file where a kubelet has looked at any time
// before, and looks again 60 to 90 s after that.
func updatesAnyTime(r *rand.Rand) time.Duration {
	for {
		if at := (span{0, 90 * time.Second}).draw(r); at < (span{60 * time.Second, 90 * time.Second}).draw(r) {
			return at
		}
	}
}

// The contents of the ConfigMap, one after the other.
const (
	first byte = 1 + iota
	good
	broken
	mended
)

// fleet is many pods that serve what a ConfigMap holds.
type fleet interface {
	apply(content byte)
	look(content byte) sample
}

// sample is what is there at one moment.
type sample struct {
	fresh   int // pods that serve that content
	serving int // pods that serve
	loading int // generations, or new pods, that load the application
	alive   int // generations, or pods, that are in memory
	sent    int // requests: one to each pod
	lost    int // of these, to a pod that does not serve
	tries   int // loads so far that have failed
}

// phase is a sample for each second since a content was applied.
type phase []sample

// since applies a content, and looks for so long; or, where that is 0, until all serve
// it and nothing else is there.
func since(f fleet, pods int, content byte, d time.Duration) (p phase) {
	f.apply(content)
	for {
		time.Sleep(time.Second)
		synctest.Wait()
		s := f.look(content)
		p = append(p, s)
		passed := time.Duration(len(p)) * time.Second
		if d == 0 && s.fresh == pods && s.alive == pods || passed == d || passed > time.Hour {
			return p
		}
	}
}

// most is the most that one of the samples has of something.
func (p phase) most(of func(sample) int) (most int) {
	for _, s := range p {
		most = max(most, of(s))
	}
	return most
}

func loading(s sample) int { return s.loading }

// until is how long it took until all served the content.
func (p phase) until(pods int) time.Duration {
	for i, s := range p {
		if s.fresh == pods {
			return time.Duration(i+1) * time.Second
		}
	}
	return -1
}

// outcome is how a fleet of so many pods has fared.
type outcome struct {
	name                 string
	pods                 int
	good, broken, mended phase
	faults               []string
}

// fares has a fleet go through all contents.
func (o *outcome) fares(f fleet) {
	o.good = since(f, o.pods, good, 0)
	o.broken = since(f, o.pods, broken, brokenFor)
	o.mended = since(f, o.pods, mended, 0)
}

// hands is a fleet in which each pod has a life of its own.
type hands struct {
	pods    []*pod
	updates func(*rand.Rand) time.Duration
}

type pod struct {
	*world
	draws   *rand.Rand
	signals chan life.Signal
	ended   chan int
}

// handsOver is how a fleet of pods fares in which stablehand hands over.
func handsOver(t *testing.T, name string, pods int, jitter string, updates func(*rand.Rand) time.Duration) *outcome {
	most, err := time.ParseDuration(jitter)
	if err != nil {
		t.Fatal(err)
	}
	o := &outcome{name: name, pods: pods}
	synctest.Test(t, func(t *testing.T) {
		f := &hands{updates: updates}
		for n := range pods {
			f.pods = append(f.pods, newPod(uint64(n), most))
		}
		time.Sleep(time.Minute) // until each serves
		o.fares(f)
		o.faults = f.stop()
	})
	o.checkHandedOver(t)
	return o
}

func newPod(seed uint64, jitter time.Duration) *pod {
	w := newWorld(seed)
	w.settings = life.Settings{ReadyTimeout: 2 * time.Minute, Jitter: jitter, Retry: 10 * time.Second,
		Drain: time.Second, StopDelay: stopDelay, Watched: true}
	w.apart, w.shared, w.probes, w.unknown, w.looking = true, false, false, false, 0
	w.command = &command{process: process{w: w, pid: 999, done: make(chan struct{})}, named: true, itself: true}
	p := &pod{world: w, draws: rand.New(rand.NewPCG(seed, 7)), signals: make(chan life.Signal), ended: make(chan int, 1)}
	p.loads(first)
	changes := make(chan life.Change)
	w.tells = changes
	l := life.New(w.settings, life.World{Log: slog.New(w), Teller: w, Host: w, Disk: w, Starter: w}, w.disk)
	go func() { p.ended <- l.Run(w.command, nil, p.signals, changes) }()
	return p
}

// loads has generations be as the content has them.
func (p *pod) loads(content byte) {
	f := fate{load: warms.draw(p.draws), finish: retires.draw(p.draws), holds: holds.draw(p.draws), workers: 2}
	if content == broken {
		f.fails = exit{code: 3}
	}
	p.Lock()
	defer p.Unlock()
	p.fate = &f
}

func (f *hands) apply(content byte) {
	for _, p := range f.pods {
		go func() {
			time.Sleep(f.updates(p.draws))
			p.loads(content)
			p.request("a change")
			change := life.Change{Paths: []string{"/etc/app"}, Content: life.Content{content}, Since: time.Now()}
			p.changes(change)
			select {
			case p.tells <- change:
			case <-p.over:
			}
		}()
	}
}

func (f *hands) look(content byte) (s sample) {
	for _, p := range f.pods {
		p.checkInstant()
		p.Lock()
		for _, g := range p.generations {
			switch {
			case g.dead():
				if !g.ready {
					s.tries++
				}
				continue
			case !g.ready:
				s.loading++
			case g.accepts() && g.reads == life.Content{content}:
				s.fresh++
			}
			s.alive++
		}
		if s.sent++; p.accepting() > 0 {
			s.serving++
		} else {
			s.lost++
		}
		p.Unlock()
	}
	return s
}

// stop ends each life, and returns what was wrong in any.
func (f *hands) stop() (faults []string) {
	var all sync.WaitGroup
	for _, p := range f.pods {
		all.Go(func() {
			if code, over := p.end(p.signals, p.ended); over {
				p.checkEndOfLife(code)
			}
			close(p.over)
		})
	}
	all.Wait()
	for _, p := range f.pods {
		if len(p.faults) > 0 {
			faults = append(faults, fmt.Sprintf("seed %d: %s\n%s", p.seed, strings.Join(p.faults, "; "), strings.Join(p.story, "\n")))
		}
	}
	return faults
}

// TestFleet compares fleets in which each pod hands over with a rolling update, as
// Stakater's Reloader begins one, of as many pods: with a change that is good, and with
// one that is broken until it is mended. docs/fleet.md tells what it shows.
func TestFleet(t *testing.T) {
	var outcomes, others []*outcome
	for _, pods := range sizes(t, *fleets) {
		outcomes = append(outcomes, rolls(t, "Reloader", pods, perCall))
		for _, jitter := range []string{"0", "30s", "5m"} {
			outcomes = append(outcomes, handsOver(t, "stablehand, JITTER="+jitter, pods, jitter, updates.draw))
		}
		all, spread := outcomes[len(outcomes)-3].good.most(loading), outcomes[len(outcomes)-1].good.most(loading)
		if pods >= 100 && spread > all/2 {
			t.Errorf("of %d pods %d hand over at once, and with JITTER %d", pods, all, spread)
		}
	}
	for _, pods := range sizes(t, *compared) {
		others = append(others, rolls(t, "Reloader, calls without a limit", pods, 0))
		for _, jitter := range []string{"0", "30s", "5m"} {
			others = append(others, handsOver(t, "looked at any time, JITTER="+jitter, pods, jitter, updatesAnyTime),
				handsOver(t, "annotated, JITTER="+jitter, pods, jitter, annotated.draw))
		}
	}
	fmt.Fprintf(t.Output(), "%s\n%s", table(outcomes), table(others))
	if *picture == "" {
		return
	}
	if err := os.WriteFile(*picture, []byte(draw(outcomes)), 0o666); err != nil {
		t.Fatal(err)
	}
}

func sizes(t *testing.T, list string) (sizes []int) {
	for _, text := range strings.Split(list, ",") {
		pods, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		sizes = append(sizes, pods)
	}
	return sizes
}

// checkHandedOver: each pod serves at every moment, what is broken never, and what is
// good at last.
func (o *outcome) checkHandedOver(t *testing.T) {
	t.Helper()
	if len(o.faults) > 0 {
		t.Errorf("%d pods, %s: something was wrong in %d: %s", o.pods, o.name, len(o.faults), o.faults[0])
	}
	for _, p := range []phase{o.good, o.broken, o.mended} {
		if lost := p.most(func(s sample) int { return s.lost }); lost > 0 {
			t.Errorf("%d pods, %s: %d requests were lost in one second", o.pods, o.name, lost)
		}
		if most := p.most(func(s sample) int { return s.alive }); most > 2*o.pods {
			t.Errorf("%d pods, %s: %d generations", o.pods, o.name, most)
		}
	}
	if o.broken.most(func(s sample) int { return s.fresh }) > 0 {
		t.Errorf("%d pods, %s: what is broken is served", o.pods, o.name)
	}
	if tries := o.broken.most(func(s sample) int { return s.tries }); tries < o.pods {
		t.Errorf("%d pods, %s: what is broken was tried %d times", o.pods, o.name, tries)
	}
	if o.good.until(o.pods) < 0 || o.mended.until(o.pods) < 0 {
		t.Errorf("%d pods, %s: not all serve what is good", o.pods, o.name)
	}
}

// table has a row for each outcome, in Markdown.
func table(outcomes []*outcome) string {
	var b strings.Builder
	fmt.Fprintln(&b, "| pods | | good: load at once | all serve it after | broken: load at once | loads that fail | pods that serve, at least | mended: all serve it after | in memory beside, at most | requests lost |")
	fmt.Fprintln(&b, "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
	for _, o := range outcomes {
		all := slices.Concat(o.good, o.broken, o.mended)
		fmt.Fprintf(&b, "| %d | %s | %d | %v | %d | %d | %d | %v | %d | %s |\n", o.pods, o.name,
			o.good.most(loading), o.good.until(o.pods), o.broken.most(loading), o.broken.most(func(s sample) int { return s.tries }),
			o.pods-all.most(func(s sample) int { return o.pods - s.serving }), o.mended.until(o.pods),
			all.most(func(s sample) int { return s.alive })-o.pods, o.requests(all))
	}
	return b.String()
}

// requests tells of those that were counted.
func (o *outcome) requests(all phase) string {
	sent, lost := 0, 0
	for _, s := range all {
		sent, lost = sent+s.sent, lost+s.lost
	}
	if sent == 0 {
		return "–"
	}
	return fmt.Sprintf("%d of %d", lost, sent)
}
