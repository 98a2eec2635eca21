package life_test

import (
	"context"
	"flag"
	"log/slog"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stablehand/stablehand/entrypoint/life"
	"github.com/stablehand/stablehand/entrypoint/status"
)

var (
	lives = flag.Int("lives", 3_000, "how many lives TestSimulatedLives lives through")
	seed  = flag.Uint64("seed", 0, "with which seed it begins; 0: another one each time")
)

// TestSimulatedLives lives through random lives: everything that can happen to a
// container, at any moment, to generations that are slow, hang, lie, fail, die
// or cannot be ended. What package life promises is checked after each event. A
// life in which something was wrong is told whole; -seed=N -lives=1 lives it again.
func TestSimulatedLives(t *testing.T) {
	from := *seed
	if from == 0 {
		from = rand.Uint64() >> 1
	}
	t.Logf("%d lives from seed %d on", *lives, from)
	var wg sync.WaitGroup
	const at = 4 // once
	wrong := make(chan struct{}, *lives)
	for lane := range at {
		wg.Go(func() {
			for n := lane; n < *lives && len(wrong) < 3; n += at {
				if !live(t, from+uint64(n)) {
					wrong <- struct{}{}
				}
			}
		})
	}
	wg.Wait()
}

// live lives through one life, and says whether all was right.
func live(t *testing.T, seed uint64) bool {
	right := true
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(seed)
		w.live()
		if len(w.faults) > 0 {
			right = false
			t.Errorf("seed %d: %s\n%s", seed, strings.Join(w.faults, "; "), strings.Join(w.story, "\n"))
		}
	})
	return right
}

func TestAThousandHandoffsLeaveNothingBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(1)
		w.settings = life.Settings{ReadyTimeout: 30 * time.Second}
		w.fate = &fate{load: time.Second, finish: time.Second, workers: 2}
		w.command = &command{process: process{w: w, pid: 999, done: make(chan struct{})}, named: true, itself: true}
		signals, ended := make(chan life.Signal), make(chan int, 1)
		l := life.New(w.settings, life.World{Log: slog.New(slog.DiscardHandler), Teller: w, Host: w}, life.Content{})
		go func() { ended <- l.Run(w.command, nil, signals, nil) }()
		few := 0
		for n := range 1000 {
			w.request("HUP")
			signals <- life.HUP
			signals <- life.USR1
			time.Sleep(time.Minute)
			synctest.Wait()
			if n == 10 {
				few = runtime.NumGoroutine()
			}
		}
		const passing = 10 // of the runtime and of other tests
		if many := runtime.NumGoroutine(); many > few+passing {
			t.Errorf("%d goroutines after 10 handoffs, %d after 1000", few, many)
		}
		if s, _ := l.Status(context.Background()); s.Totals.Handoffs[status.HandedOff] != 1000 {
			t.Errorf("%v, want 1000 handed off", s.Totals.Handoffs)
		}
		w.end(signals, ended)
		close(w.over)
	})
}

func newWorld(seed uint64) *world {
	r := rand.New(rand.NewPCG(seed, 0))
	w := &world{seed: seed, begun: time.Now(), over: make(chan struct{}), disk: life.Content{1},
		numbers: map[int]*generation{}, resized: map[life.Signal]int{life.TTIN: 0, life.TTOU: 0}}
	w.settings = life.Settings{ReadyTimeout: 30 * time.Second, Watched: true}
	for setting, most := range map[*time.Duration]time.Duration{
		&w.settings.Soak: time.Minute, &w.settings.Jitter: 30 * time.Second, &w.settings.Retry: time.Minute,
		&w.settings.StopDelay: 20 * time.Second, &w.settings.StopTimeout: time.Minute,
	} {
		// Maps have no order, and a seed is to stand for one life.
		if own := rand.New(rand.NewPCG(seed, uint64(most))); chance(own, 50) {
			*setting = 1 + some(own, most)
		}
	}
	// A third have listeners of their own; whoever is asked for from outside, or found,
	// has not.
	if own := rand.New(rand.NewPCG(seed, 4)); chance(own, 33) && seed%10 != 0 {
		w.apart, w.settings.Drain = true, []time.Duration{0, time.Second, time.Minute}[own.IntN(3)]
		w.shared = chance(own, 25)
	}
	w.probes = chance(rand.New(rand.NewPCG(seed, 5)), 50)
	w.settings.Room, w.memory = drawMemory(rand.New(rand.NewPCG(seed, 6)))
	watched := rand.New(rand.NewPCG(seed, 3))
	w.looking, w.unknown = []time.Duration{0, time.Millisecond, 300 * time.Millisecond, time.Hour}[watched.IntN(4)], chance(watched, 10)
	w.command = &command{process: process{w: w, pid: 999, done: make(chan struct{})},
		after: some(r, 5*time.Second), again: some(r, 10*time.Second)}
	switch r.IntN(8) {
	case 0:
		w.command.after = -1
	case 1:
		w.command.ends = true
	case 2:
		w.command.ignores, w.command.again = true, -1
	case 3:
		// It may be taken for no gunicorn by then, and nothing else happens at that moment.
		w.command.after = some(r, 2*time.Minute) + time.Millisecond/2
	default:
		w.command.named, w.command.itself = true, true
	}
	return w
}

// longest is how long an end may take: a task that does not end is given up,
// then what is left is waited for, told and killed.
const longest = 3 * time.Minute

// live runs the life, and has things happen to it.
func (w *world) live() {
	signals, changes := make(chan life.Signal), make(chan life.Change)
	w.tells = changes
	stands := life.World{Log: slog.New(w), Teller: w, Host: w, Disk: w}
	if w.apart {
		stands.Starter = w
	}
	if w.probes {
		stands.Prober = w
	}
	if w.settings.Room != life.Off {
		stands.Memory = w
	}
	l := life.New(w.settings, stands, life.Content{1})
	ended := make(chan int, 1)
	w.strikes = rand.New(rand.NewPCG(w.seed, 2))
	w.terminate = func() {
		select {
		case signals <- life.TERM:
		case <-w.over:
		}
	}
	command, adopted := w.begins()
	go func() { ended <- l.Run(command, adopted, signals, changes) }()
	code, over := w.happen(l, signals, changes, ended)
	if !over {
		code, over = w.end(signals, ended)
	}
	if over {
		synctest.Wait()
		w.checkEndOfLife(code)
	}
	close(w.over)
	time.Sleep(time.Hour) // for what was still under way
}

// begins is what the life begins with: a command, or a running gunicorn.
func (w *world) begins() (life.Command, *life.Adopted) {
	if w.seed%10 != 0 {
		return w.command, nil
	}
	w.Lock()
	defer w.Unlock()
	w.command.endLocked(exit{})
	w.adopted = new(life.Adopted)
	if w.seed%20 == 0 { // in the midst of a handoff, which has been decided
		old := w.spawn()
		old.ready, old.fails, old.foreign = true, exit{}, false
		w.adopted.Retiring, w.numbers[1] = old, old
	}
	w.coming = w.spawn()
	w.numbers[len(w.generations)] = w.coming
	w.adopted.Generation = w.coming
	switch w.seed / 20 % 3 {
	case 0:
		w.coming.mixed = true // nobody knows what it has read
	case 1:
		w.adopted.Content = w.disk
	case 2:
		w.adopted.Content, w.coming.reads = life.Content{99}, life.Content{99}
	}
	// What is known to have read something has served before.
	if w.coming.ready = w.adopted.Retiring != nil || w.adopted.Content != (life.Content{}); w.coming.ready {
		w.coming.never, w.coming.fails = false, exit{}
	}
	if w.adopted.Retiring != nil {
		w.generations[0].termLocked()
	}
	return nil, w.adopted
}

// happen has random events happen until the life ends, or nothing more does.
func (w *world) happen(l *life.Life, signals chan<- life.Signal, changes chan<- life.Change, ended chan int) (code int, over bool) {
	r := rand.New(rand.NewPCG(w.seed, 1))
	for range r.IntN(40) {
		pause := some(r, 20*time.Second)
		if chance(r, 40) {
			pause = some(r, 100*time.Millisecond)
		}
		select {
		case code := <-ended:
			return code, true
		case <-time.After(pause):
		}
		w.event(r, l, signals, changes, ended)
		synctest.Wait()
		w.checkInstant()
	}
	// Retries and a long retirement come to their end.
	for range 15 {
		select {
		case code := <-ended:
			return code, true
		case <-time.After(5 * time.Minute):
			w.checkInstant()
		}
	}
	w.checkQuiet(l)
	return 0, false
}

// checkQuiet: where nothing has happened for long, nothing is left to be done.
func (w *world) checkQuiet(l *life.Life) {
	now, _ := l.Status(context.Background())
	w.Lock()
	defer w.Unlock()
	if w.stopped || w.serving == nil {
		return
	}
	stuck := func(g *generation) bool { return g.stuck }
	if w.serving.dead() && time.Since(w.serving.diedAt) > longest && !slices.ContainsFunc(w.generations, stuck) {
		w.fault("nothing serves, and there is no end")
	}
	ill := func(g *generation) bool { return !g.healthy() }
	for _, g := range w.generations {
		if g.termed && !g.dead() && time.Since(g.termedAt) > 65*time.Minute {
			w.fault("generation %d was told to finish long ago, and is there", g.number)
		}
	}
	if w.serving.dead() || slices.ContainsFunc(w.generations, ill) {
		return // a task goes on for as long
	}
	if w.reasons+w.waiting > 0 && time.Now().After(w.paused) {
		w.fault("a handoff was asked for and never began")
	}
	if w.failures > 0 && w.settings.Retry > 0 && time.Since(w.failedAt) > 10*time.Minute {
		w.fault("a handoff has failed and is not tried again")
	}
	for _, g := range w.generations {
		if g != w.serving && !g.dead() && !(g.stray && w.serving.refuses) && now.Handoff == nil {
			w.fault("generation %d is there, and nobody needs it", g.number)
		}
	}
	if w.serving.mixed && !w.blindToDisk() && w.failures == 0 && !w.roomLooked && (w.command.first != nil || w.serving.number > 1) {
		w.fault("generation %d may have read what was there for a moment, and no other follows", w.serving.number)
	}
	if now.Handoff != nil && time.Since(now.Handoff.Began) > 10*time.Minute {
		w.fault("a handoff does not end")
	}
	for sig, n := range w.resized {
		if n != 0 && !w.struck {
			w.fault("%s was delivered %d times less than it was sent", sig, n)
		}
	}
}

// resizes counts a signal that is to reach one master, once.
func (w *world) resizes(sig life.Signal) {
	w.Lock()
	defer w.Unlock()
	if _, counted := w.resized[sig]; counted && !w.plain { // else it is the command's
		w.resized[sig]++
	}
}

// event has one thing happen.
func (w *world) event(r *rand.Rand, l *life.Life, signals chan<- life.Signal, changes chan<- life.Change, ended chan int) {
	send := func(sig life.Signal) {
		select {
		case signals <- sig:
		case code := <-ended:
			ended <- code // for who waits for it
		case <-time.After(time.Second):
			w.Lock()
			w.fault("the loop takes no signal")
			w.Unlock()
		}
	}
	switch n := r.IntN(100); {
	case n < 25:
		w.request("a change")
		change := life.Change{Paths: []string{"a"}, Content: life.Content{byte(r.Uint32())}, Since: time.Now()}
		w.changes(change)
		select {
		case changes <- change:
		case <-time.After(time.Second):
		}
	case n < 35:
		w.request("HUP")
		send([]life.Signal{life.HUP, life.USR2}[r.IntN(2)])
	case n < 50:
		sig := []life.Signal{life.USR1, life.TTIN, life.TTOU, life.WINCH, "SIGCONT", "signal 40", life.PIPE}[r.IntN(7)]
		w.resizes(sig)
		send(sig)
	case n < 60:
		w.reload(r, l)
	case n < 70:
		w.question(l)
	case n < 75:
		w.strikeOne(r)
	case n < 80:
		w.usr2()
	case n >= 94:
		w.flaps()
	case n < 83:
		w.stop()
		sig := []life.Signal{life.TERM, life.INT, life.QUIT, life.TERM}[r.IntN(4)]
		send(sig)
		w.checkStop(sig)
	}
}

// checkStop: a signal that stops reaches all that is there, at once.
func (w *world) checkStop(sig life.Signal) {
	synctest.Wait()
	w.Lock()
	defer w.Unlock()
	for _, task := range w.tasks {
		if task.Err() == nil {
			w.fault("a task has not been told of %s", sig)
			break
		}
	}
	if w.ending || sig == life.TERM && w.settings.StopDelay > 0 && w.everServed {
		return // we end already, or still serve
	}
	for _, g := range w.generations {
		if !g.dead() && !g.termed && !g.failed && !g.stray && (w.serving == nil || g != w.serving.late) {
			w.fault("generation %d has not got %s", g.number, sig)
		}
	}
}

// changes has what is watched hold something else.
func (w *world) changes(change life.Change) {
	w.Lock()
	defer w.Unlock()
	w.disk = change.Content
	w.wrote = nil
	for _, path := range change.Paths {
		w.wrote = append(w.wrote, life.Written{Path: path + "/file"})
	}
	w.movesLocked()
	w.seen() // else it would not be told
}

// request notes that somebody has a reason for a handoff.
func (w *world) request(what string) {
	w.Lock()
	defer w.Unlock()
	w.note("%s", what)
	if !w.plain { // else it is the command's, or nobody's
		w.reasons++
	}
}

func (w *world) stop() {
	w.Lock()
	defer w.Unlock()
	w.note("a stop")
	w.stopped, w.stoppedAt = true, time.Now()
}

// reload asks as an operator does, who may not wait for the end.
func (w *world) reload(r *rand.Rand, l *life.Life) {
	if chance(r, 50) {
		w.request("reload --no-wait")
		l.ReloadSoon(context.Background())
		return
	}
	w.Lock()
	w.note("reload")
	if !w.plain { // else it is refused
		w.waiting++
	}
	attempts := w.attempts
	w.Unlock()
	patience := some(r, 10*time.Minute)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	told, err := l.Reload(ctx)
	if err != nil {
		cancel()
		return
	}
	w.asks(1)
	go func() {
		defer cancel()
		defer w.asks(-1)
		var last status.Handoff
		for {
			select {
			case h, open := <-told:
				if !open {
					w.Lock()
					w.fault("who asked for a handoff is not told how it ended: %+v", last)
					w.Unlock()
					return
				}
				last = h
				if h.Over() {
					w.closes(told)
					return
				}
			case <-ctx.Done():
				w.Lock()
				if w.attempts == attempts && w.waiting > 0 { // nothing is asked for any more
					w.note("who asked has gone")
					w.waiting--
				}
				w.Unlock()
				return
			}
		}
	}()
}

// asks notes that so many more are to be told how a handoff ends.
func (w *world) asks(more int) {
	w.Lock()
	defer w.Unlock()
	w.asking += more
}

// closes: who was told how it ended is not left waiting.
func (w *world) closes(told <-chan status.Handoff) {
	select {
	case _, open := <-told:
		if !open {
			return
		}
	case <-time.After(time.Second):
	}
	w.Lock()
	w.fault("who was told how a handoff ended is left waiting")
	w.Unlock()
}

// question: whoever asks is answered at once.
func (w *world) question(l *life.Life) {
	asked := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	s, err := l.Status(ctx)
	w.Lock()
	defer w.Unlock()
	if s.InSync != nil && *s.InSync && (w.serving.mixed || w.serving.reads != w.disk) {
		w.fault("generation %d is said to have read what is watched, and has not", w.serving.number)
	}
	if took := time.Since(asked); took > 0 || err != nil && ctx.Err() != nil {
		w.fault("a question was answered after %v: %v", took, err)
	}
}

// strikeOne ends some generation's master from outside.
func (w *world) strikeOne(r *rand.Rand) {
	w.Lock()
	var g *generation
	if n := len(w.generations); n > 0 {
		g = w.generations[n-1-r.IntN(min(n, 2))]
	}
	w.Unlock()
	if g != nil {
		w.strike(g, exit{code: 128 + 9})
	}
}

// end stops the life as a runtime does: TERM, then INT, then it ends the masters.
func (w *world) end(signals chan<- life.Signal, ended <-chan int) (code int, over bool) {
	w.stop()
	for _, sig := range []life.Signal{life.TERM, life.INT} {
		select {
		case signals <- sig:
		case code := <-ended:
			return code, true
		}
		select {
		case code := <-ended:
			return code, true
		case <-time.After(longest):
		}
		w.checkTimeout()
	}
	all := w.checkQuick()
	for _, g := range all {
		w.strike(g, exit{code: 137})
	}
	w.command.end(exit{code: 137})
	select {
	case code := <-ended:
		return code, true
	case <-time.After(longest):
		w.Lock()
		w.fault("the end does not end")
		w.Unlock()
		return 0, false
	}
}

// checkTimeout: STOP_TIMEOUT ends all that does not end by itself.
func (w *world) checkTimeout() {
	w.Lock()
	defer w.Unlock()
	if w.settings.StopTimeout > 0 {
		w.fault("STOP_TIMEOUT does not end it")
	}
}

// checkQuick: INT ends all, unless something is, or was, there that hears nothing.
// It returns all generations.
func (w *world) checkQuick() (all []*generation) {
	w.Lock()
	defer w.Unlock()
	numb := func(g *generation) bool { return g.numb && (!g.dead() || time.Since(g.diedAt) < longest) }
	if !slices.ContainsFunc(w.generations, numb) {
		w.fault("INT does not end it")
	}
	return w.generations
}

// checkCut: what was told to finish, and would, is let finish, unless somebody
// else than stablehand has set it a time.
func (w *world) checkCut(g *generation, grace time.Duration) {
	hurried := w.settings.StopTimeout > 0 || w.slow || g.quick || g.failed
	if grace > 0 && !w.stopping.IsZero() && g.termed && !g.dead() && g.healthy() && !hurried {
		w.fault("generation %d was told to finish, and is not let", g.number)
	}
}

// checkEndOfLife: nothing is left, and the code is gunicorn's.
func (w *world) checkEndOfLife(code int) {
	w.Lock()
	defer w.Unlock()
	w.note("ended with code %d", code)
	given := strings.Contains(strings.Join(w.story, "\n"), "leaving what is left to the kernel")
	unkillable := strings.Contains(strings.Join(w.story, "\n"), "cannot end what is left")
	for _, g := range w.generations {
		if (!g.dead() || g.left) && !given && !unkillable {
			w.fault("generation %d is left", g.number)
		}
	}
	if !w.command.dead() && !w.command.itself && !given && !unkillable {
		w.fault("the command is left")
	}
	if want, known := w.wantedCode(given); known && code != want {
		w.fault("code %d, and it is to be %d", code, want)
	}
	if w.everServed && w.stopping.IsZero() && !w.nothing {
		w.fault("nobody was told that nothing serves")
	}
	if w.asking > 0 {
		w.fault("%d who have asked for a handoff are left waiting", w.asking)
	}
	if last := w.logged; last != "stopped" {
		w.fault("the last line of the log is %q, and does not say that it has stopped", last)
	}
}

// TestMain takes the number of lives from LIVES, too, for who runs all tests.
func TestMain(m *testing.M) {
	flag.Parse()
	if n, err := strconv.Atoi(os.Getenv("LIVES")); err == nil {
		*lives = n
	}
	os.Exit(m.Run())
}
