package life_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/stablehand/stablehand/entrypoint/life"
	"github.com/stablehand/stablehand/entrypoint/status"
)

// exit is how a simulated process ended.
type exit struct {
	code    int
	unknown bool
}

func (e exit) Known() bool { return !e.unknown }

func (e exit) ExitCode() int {
	if e.unknown {
		return 1
	}
	return e.code
}

func (e exit) String() string { return fmt.Sprintf("exit code %d, unknown: %v", e.code, e.unknown) }

// endError is the error of waiting for something of a process that has ended.
type endError struct{ exit }

func (e endError) Error() string              { return e.String() }
func (e endError) Advice(lines string) string { return "mend what " + lines + " tell of" }
func (e endError) ByWorker() bool             { return e.code == 3 || e.code == 4 }

// process is a simulated one.
type process struct {
	w      *world
	pid    int
	done   chan struct{}
	exit   exit
	diedAt time.Time
	known  bool // its end came before the loop did anything else, and can be known to it
}

func (p *process) PID() int              { return p.pid }
func (p *process) Done() <-chan struct{} { return p.done }

func (p *process) Exit() life.Exit {
	if !p.dead() {
		p.w.Lock()
		defer p.w.Unlock()
		p.w.fault("asked how process %d ended, which lives", p.pid)
	}
	return p.exit
}

func (p *process) dead() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// endLocked ends the process, with the world locked.
func (p *process) endLocked(e exit) {
	if !p.dead() {
		p.exit, p.diedAt = e, time.Now()
		close(p.done)
	}
}

func (p *process) end(e exit) {
	p.w.Lock()
	defer p.w.Unlock()
	p.endLocked(e)
}

// fate is what a generation is going to do. It is drawn from the seed and the
// generation's number, and so is the same in each run.
type fate struct {
	load      time.Duration // until it is ready
	never     bool          // it hangs while it loads
	fails     exit          // it ends instead of getting ready, where its code is not 0
	lives     time.Duration // it ends by itself after this; 0 = it does not
	loses     time.Duration // it loses a worker this long after it was ready; 0 = it does not
	drops     int           // so many workers are lost as it loads, and replaced
	starves   bool          // these are killed for want of memory
	dying     bool          // all its workers end as they load, for ever
	writes    bool          // it writes what is watched as it loads
	names     bool          // each time under another name
	twice     bool          // and once more, elsewhere, as soon as it is ready
	parts     time.Duration // how long its workers take to end, where they are told before their master
	finish    time.Duration // how long it takes to end after TERM
	deaf      bool          // it never ends after TERM, and INT does not reach its master then
	numb      bool          // only force ends it
	immortal  int           // so many tries to end it fail
	leaves    bool          // a process of it outlives its master
	foreign   bool          // its successor was begun by somebody else
	refuses   bool          // it cannot spawn
	sleeps    time.Duration // it takes the first USR2 only so long after it was sent
	stuck     bool          // whoever waits for it waits for ever, whatever the context
	workers   int
	preloads  bool
	logs      []string
	promotion time.Duration
	last      exit // how it ends when it is told to

	answers time.Duration // how long it is asked until it answers as it should
	mute    bool          // it never does

	lingers   time.Duration // how long a worker takes to leave that is to
	unsteered bool          // where it has listeners of its own: it cannot be steered to
	holds     time.Duration // how long it holds connections that it got
	uncounted bool          // and nobody can count them
	busy      time.Duration // how long what waits when it gets nothing new is not accepted
}

// generation is a simulated gunicorn master with its workers.
type generation struct {
	process
	fate
	number   int // as the world counts: every one that was spawned
	ready    bool
	probing  bool // it is being asked, or was
	answered bool // as it should
	failed   bool // it is being ended by force, or has ended before it was promoted
	parting  bool // its workers have got TERM, and accept nothing any more
	termed   bool // it has, too
	termedAt time.Time
	left     bool // what it leaves behind is there
	next     *generation
	early    bool // that is there before it was asked for
	lost     bool // it has lost a worker while it soaked
	quick    bool
	wakes    time.Time
	asked    bool          // for a successor that has not come
	late     *generation   // it has come, and nobody knows
	stray    bool          // somebody else has asked for it, and it was not handed over to yet
	reads    life.Content  // what is watched held this when it was begun
	mixed    bool          // nobody knows what it has read: that has changed since, or somebody else has begun it
	begun    time.Time     // when it was spawned
	took     time.Duration // until it was ready
	alien    bool          // somebody else has begun it
	replaced bool          // a handoff has begun from it
	dropped  time.Time     // when it lost a worker as it loads
	killed   int           // workers that the kernel has killed for want of memory since it was ready
	closed   bool          // its listener is
	empty    time.Time     // when it holds no connection any more, since it gets none
	passed   time.Time     // since when
	base     int           // workers that it is to have, as its configuration and others say
	target   int           // the same, with what the life has taken of them
	there    int           // that are there
}

// healthy says whether it does what it is told, and in time.
func (g *generation) healthy() bool { return !g.stuck && !g.deaf && !g.numb && g.immortal == 0 }

// accepts says whether it serves requests, with the world locked. One that new
// connections are not steered to gets none.
func (g *generation) accepts() bool {
	return g.ready && !g.termed && !g.parting && !g.dead() && (!g.w.apart || g.w.shared || g.w.steered == g)
}

// Listener is its own in a world where they are apart.
func (g *generation) Listener() life.Listener {
	if !g.w.apart {
		return nil
	}
	return listener{g}
}

// listener is a simulated one.
type listener struct{ *generation }

var errUnsteered = errors.New("somebody else listens there, too")

func (l listener) Steer() error {
	l.w.Lock()
	defer l.w.Unlock()
	l.w.note("steer to generation %d", l.number)
	if l.unsteered || l.closed {
		return errUnsteered
	}
	if old := l.w.steered; old != nil && old != l.generation {
		if !old.dead() && !l.ready {
			l.w.fault("steered to generation %d, which is not ready", l.number)
		}
		if !old.dead() && !l.w.answers(l.generation) && l.generation != l.w.serving {
			l.w.fault("steered to generation %d, which does not answer", l.number)
		}
		old.empty, old.passed = time.Now().Add(old.holds), time.Now()
	}
	l.w.steered = l.generation
	return nil
}

func (l listener) Shared() bool { return l.w.shared }

func (l listener) Yield() error { return nil } // the world has a generation when it is found, and its listener then

func (l listener) Held() (waiting, held int, err error) {
	l.w.Lock()
	defer l.w.Unlock()
	if l.uncounted {
		return 0, 0, errors.New("the kernel lists no sockets")
	}
	if l.w.steered == l.generation || time.Now().Before(l.passed.Add(l.busy)) {
		waiting = 2
	}
	if l.w.steered == l.generation || time.Now().Before(l.empty) {
		held = 3
	}
	return waiting, held, nil
}

func (l listener) Release() {}

func (l listener) Close() {
	l.w.Lock()
	defer l.w.Unlock()
	if !l.dead() {
		l.w.fault("the listener of generation %d is closed, which lives", l.number)
	}
	l.closed = true
	for _, g := range l.w.generations { // the kernel has it get all that is alone
		if l.w.steered == l.generation && !g.closed && !g.dead() {
			l.w.steered = g
		}
	}
}

// Start begins a generation afresh.
func (w *world) Start(ctx context.Context) (life.Generation, error) {
	w.works(ctx)
	w.Lock()
	old := w.serving
	w.checkSpawn(old, false)
	w.checkClosed()
	r := rand.New(rand.NewPCG(w.seed, uint64(1000+w.attempts)))
	begun, takes := time.Now(), some(r, time.Second)
	w.Unlock()
	if old.refuses {
		return nil, errors.New("it cannot be run")
	}
	select {
	case <-time.After(takes):
	case <-ctx.Done():
		time.Sleep(takes / 2) // its end
		return nil, context.Cause(ctx)
	}
	w.Lock()
	defer w.Unlock()
	g := w.spawn()
	g.begun = begun
	return g, nil
}

func (g *generation) Ended() error { <-g.done; return endError{g.exit} }

// Signal sends a signal at once, which is the end of one that does not handle it yet.
func (g *generation) Signal(sig life.Signal) error {
	g.w.Lock()
	handles := g.ready || g.dead()
	if !handles && slices.Contains([]life.Signal{life.HUP, life.USR1, life.USR2, life.TTIN, life.TTOU}, sig) {
		g.w.fault("%s kills generation %d, which has no handler for it yet", sig, g.number)
	}
	g.w.Unlock()
	return g.signal(sig)
}

func (g *generation) signal(sig life.Signal) error {
	g.w.Lock()
	defer g.w.Unlock()
	if _, counted := g.w.resized[sig]; counted {
		g.w.resized[sig]--
	}
	if g.dead() {
		return nil
	}
	g.w.sent(g, sig)
	switch sig {
	case life.TTIN:
		g.base++
		g.grow(+1)
	case life.TTOU:
		if g.target > 1 { // else gunicorn ignores it
			g.base--
			g.grow(-1)
		}
	case life.TERM:
		g.termLocked()
	case life.INT, life.QUIT:
		if g.termed && g.deaf {
			return nil
		}
		g.quickLocked()
	}
	return nil
}

func (g *generation) termLocked() {
	if g.termed {
		return
	}
	g.w.checkTerm(g)
	g.w.checkDrained(g)
	g.termed, g.termedAt = true, time.Now()
	if !g.deaf && !g.numb {
		time.AfterFunc(g.finish, func() { g.end(g.last) })
	}
}

func (g *generation) quickLocked() {
	g.termed, g.quick = true, true
	if g.numb {
		return
	}
	time.AfterFunc(100*time.Millisecond, func() { g.end(g.last) })
}

// Finish has its workers finish first; new connections come to none of them then.
func (g *generation) Finish(ctx context.Context) error {
	g.w.Lock()
	if !g.termed && !g.dead() {
		g.w.note("TERM to the workers of generation %d", g.number)
		g.w.checkTerm(g)
		g.w.checkDrained(g)
		g.parting = true
	}
	g.w.Unlock()
	select {
	case <-time.After(g.parts):
	case <-g.done:
	case <-ctx.Done():
	}
	return g.signal(life.TERM)
}

func (g *generation) Hurry(sig life.Signal, _ func(error)) {
	g.w.Lock()
	defer g.w.Unlock()
	g.w.note("%s to the workers of generation %d", sig, g.number)
	if !g.termed {
		g.w.fault("workers of generation %d were told to hurry, whose master was not told to end", g.number)
	}
	g.quickLocked()
}

func (g *generation) Deliver(ctx context.Context, sig life.Signal) error {
	return g.signal(sig)
}

// grow has the master want more workers, or fewer: those leave when they have finished.
func (g *generation) grow(more int) {
	g.target += more
	g.there = max(g.there, g.target)
	if more < 0 {
		time.AfterFunc(g.lingers, func() {
			g.w.Lock()
			defer g.w.Unlock()
			g.there = max(g.there-1, g.target)
		})
	}
}

// wait waits as a real one would, or for ever where it is stuck.
func (g *generation) wait(ctx context.Context, d time.Duration) error {
	if g.stuck {
		<-g.w.over
		return errors.New("the world has ended")
	}
	select {
	case <-time.After(d):
		return nil
	case <-g.done:
		return endError{g.exit}
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (g *generation) Ready(ctx context.Context, hint int, report func(status.Workers)) error {
	g.w.works(ctx)
	report(status.Workers{All: g.workers})
	if g.writes {
		file := life.Written{Path: "own/file"}
		if g.names {
			file = life.Written{Path: fmt.Sprintf("own/file_%d", g.pid), Came: time.Now().Add(g.load / 2), In: "own"}
		}
		time.AfterFunc(g.load/2, func() { g.w.writes("own", file) })
	}
	if g.twice {
		time.AfterFunc(g.load+time.Second/2, func() { g.w.writes("late", life.Written{Path: "late/file"}) })
	}
	if err := g.loseSome(ctx, hint, report); err != nil {
		return err
	}
	if g.never {
		return g.wait(ctx, 1000*time.Hour)
	}
	if err := g.wait(ctx, g.load); err != nil {
		return err
	}
	if g.fails.code != 0 {
		g.end(g.fails)
		return endError{g.fails}
	}
	report(status.Workers{All: g.workers, Ready: g.workers})
	if err := g.getsReady(); err != nil {
		return err
	}
	g.w.meanwhile()
	return nil
}

func (g *generation) getsReady() error {
	g.w.Lock()
	defer g.w.Unlock()
	if g.dead() {
		return endError{g.exit}
	}
	g.ready, g.took = true, time.Since(g.begun)
	return nil
}

// loseSome is how a generation loses workers as it loads.
func (g *generation) loseSome(ctx context.Context, hint int, report func(status.Workers)) error {
	w, all := status.Workers{All: g.workers}, time.Time{}
	for w.Lost < g.drops || g.dying {
		if err := g.wait(ctx, time.Second); err != nil {
			return err
		}
		g.w.Lock()
		if g.dropped.IsZero() {
			g.dropped = time.Now()
		}
		g.w.Unlock()
		w.Lost, w.Exits = w.Lost+1, "exit code 1"
		if g.starves {
			w.OOMKilled, w.Exits = w.OOMKilled+1, "killed by SIGKILL, out of memory"
		}
		report(w)
		if (w.Lost >= max(hint, g.workers) || w.OOMKilled >= 2) && all.IsZero() {
			all = time.Now()
		}
		g.w.checkLost(ctx, g, !all.IsZero() && time.Since(all) > 1500*time.Millisecond)
	}
	return nil
}

// Probe asks a generation every half second.
func (w *world) Probe(ctx context.Context, of life.Generation, report func(string)) error {
	w.works(ctx)
	g := of.(*generation)
	w.Lock()
	if !g.ready && !g.dead() {
		w.fault("generation %d is asked, whose workers are not ready", g.number)
	}
	g.probing = true
	w.Unlock()
	for begun := time.Now(); g.mute || time.Since(begun) < g.answers; {
		report("500 Internal Server Error")
		select {
		case <-time.After(time.Second / 2):
		case <-ctx.Done():
			g.isAsked(false)
			return fmt.Errorf("%w: probe: 500", context.Cause(ctx))
		}
		w.checkNeeded(g)
	}
	g.isAsked(true)
	w.meanwhile()
	return nil
}

// checkNeeded: what is all there is serves as it is.
func (w *world) checkNeeded(g *generation) {
	w.Lock()
	defer w.Unlock()
	if s := w.serving; s != nil && s.dead() && time.Since(s.diedAt) > time.Second && !g.dead() {
		w.fault("generation %d is asked still, and nothing else serves", g.number)
	}
}

// isAsked notes how long it took until a generation had answered, or had to serve without.
func (g *generation) isAsked(answered bool) {
	g.w.Lock()
	defer g.w.Unlock()
	if g.answered = answered; !g.dead() {
		g.took = time.Since(g.begun)
	}
}

// answers says whether a generation has answered as it should, or is not asked, with the
// world locked: what was adopted is not.
func (w *world) answers(g *generation) bool {
	return !w.probes || g.answered || w.adopted != nil && (g.number == 1 || w.adopted.Generation == life.Generation(g))
}

var errLost = errors.New("a worker was lost")

func (g *generation) Soak(ctx context.Context, d time.Duration) error {
	g.w.works(ctx)
	if g.loses > 0 && g.loses < d {
		if err := g.wait(ctx, g.loses); err != nil {
			return err
		}
		g.w.Lock()
		defer g.w.Unlock()
		g.lost = true
		return errLost
	}
	if d > 0 {
		if err := g.wait(ctx, d); err != nil {
			return err
		}
	}
	g.w.meanwhile()
	return nil
}

func (g *generation) Spawn(ctx context.Context) (life.Generation, bool, error) {
	g.w.works(ctx)
	g.w.Lock()
	early := g.early
	g.early = false
	g.w.checkSpawn(g, early)
	stray := g.w.strayOf(g)
	if stray != nil {
		stray.stray, g.next, early = false, stray, true
	}
	g.w.foreign = early
	if early {
		g.next.begun, g.next.alien = time.Now(), true
	}
	g.w.Unlock()
	if early {
		return g.next, false, nil
	}
	if g.refuses {
		return nil, false, errors.New("it cannot be run")
	}
	if err := g.wait(ctx, g.sleepsOn()+50*time.Millisecond); err != nil {
		return nil, false, err
	}
	late, err := g.comes(ctx)
	if err != nil {
		return nil, false, err
	}
	g.w.Lock()
	defer g.w.Unlock()
	if g.dead() {
		return nil, false, endError{g.exit}
	}
	if stray := g.w.strayOf(g); stray != nil {
		stray.stray, late = false, stray
	}
	if late != nil {
		g.next, g.w.foreign = late, true
		late.begun, late.alien = time.Now(), true
		return late, false, nil
	}
	g.next, g.w.foreign = g.w.spawn(), g.foreign
	g.next.mixed = g.foreign
	return g.next, !g.foreign, nil
}

// Successor is one that somebody else has asked for.
func (g *generation) Successor() life.Generation {
	g.w.Lock()
	defer g.w.Unlock()
	if stray := g.w.strayOf(g); stray != nil {
		return stray
	}
	if !g.foreign || g.number != 1 || g.dead() && g.next == nil {
		return nil
	}
	if g.next == nil {
		g.next, g.early = g.w.spawn(), true
		g.next.mixed = true
	}
	return g.next
}
func (g *generation) Forget()        { g.w.Lock(); g.next = nil; g.w.Unlock() }
func (g *generation) Note()          {}
func (g *generation) Preloads() bool { return g.preloads }
func (g *generation) Logs() []string { return g.logs }

// Spent is true of some that do not end by themselves.
func (g *generation) Spent() bool {
	g.w.Lock()
	defer g.w.Unlock()
	return g.termed && g.deaf && g.number%2 == 0
}

// sleepsOn is how much longer it takes no USR2, from when it got the first. It takes
// it then, whoever waits for its successor.
func (g *generation) sleepsOn() time.Duration {
	g.w.Lock()
	defer g.w.Unlock()
	if g.sleeps > 0 && g.wakes.IsZero() {
		g.wakes, g.asked = time.Now().Add(g.sleeps), true
		time.AfterFunc(g.sleeps, g.wake)
	}
	return max(0, time.Until(g.wakes))
}

func (g *generation) wake() {
	g.w.Lock()
	defer g.w.Unlock()
	g.asked = false
	if !g.dead() && !g.termed && g.w.strayOf(g) == nil { // else gunicorn ignores it
		g.late = g.w.spawn()
	}
}

// comes is the successor that has come late, once. It is seen some time after.
func (g *generation) comes(ctx context.Context) (*generation, error) {
	if g.wakes.IsZero() {
		return nil, nil
	}
	if err := g.wait(ctx, g.sleepsOn()+500*time.Millisecond); err != nil {
		return nil, err
	}
	g.w.Lock()
	defer g.w.Unlock()
	late := g.late
	g.late = nil
	if late != nil && late.dead() {
		late.left = false // it names the same old master, and goes with the next successor
		late = nil
	}
	return late, nil
}

func (g *generation) Late(ctx context.Context) (life.Generation, error) {
	late, err := g.comes(ctx)
	if late == nil {
		return nil, err
	}
	g.w.Lock()
	defer g.w.Unlock()
	g.next = late
	return late, nil
}

func (g *generation) Promoted(ctx context.Context) error {
	g.w.works(ctx)
	err := g.wait(ctx, g.promotion)
	g.w.Lock()
	defer g.w.Unlock()
	g.failed = errors.As(err, new(endError))
	return err
}

func (g *generation) Workers() status.Workers {
	g.w.Lock()
	defer g.w.Unlock()
	w := status.Workers{All: g.there, Ready: g.there, OOMKilled: g.killed}
	if !g.ready && (g.workers < 5 || g.w.adopted != nil || g.w.serving != nil && g.w.serving.dead()) {
		w.Ready = 0 // of others some are
	}
	return w
}

var errOutlives = errors.New("1 process outlives SIGKILL")

func (g *generation) End(ctx context.Context, grace time.Duration) error {
	g.w.Lock()
	g.w.checkEnd(g)
	if grace > 0 && g.failed {
		g.w.fault("generation %d gets a second time to finish", g.number)
	}
	if old := g.w.serving; !g.failed && g.ready && !g.dead() && !g.w.stopped && old != nil && old != g && old.dead() && old.diedAt.Before(time.Now()) {
		g.w.fault("generation %d is ready and all that there is, and is ended", g.number)
	}
	if g.w.shared && grace == 0 && !g.failed && g.ready && !g.dead() && !g.w.stopped {
		g.w.fault("generation %d accepts from the sockets of all, and gets no time to finish", g.number)
	}
	g.failed = true
	if grace > 0 {
		g.termed = true
	}
	g.w.Unlock()
	if grace > 0 {
		select {
		case <-time.After(min(grace, g.finish)):
		case <-g.done:
		}
	}
	g.w.Lock()
	defer g.w.Unlock()
	if g.immortal > 0 {
		g.immortal--
		if g.w.serving != nil && g.w.strikes != nil && chance(g.w.strikes, 50) {
			g.w.struck = true
			g.w.serving.endLocked(exit{code: 137})
		}
		g.w.Unlock()
		<-ctx.Done()
		g.w.Lock()
		return errOutlives
	}
	g.endLocked(exit{code: 137})
	g.left = false
	return nil
}

func (g *generation) Clear(ctx context.Context, grace time.Duration) error {
	g.w.Lock()
	defer g.w.Unlock()
	g.endLocked(exit{code: 137})
	g.left = false
	return nil
}

// command is a simulated one: gunicorn itself, a script that becomes or starts
// one, or something else.
type command struct {
	process
	named   bool
	after   time.Duration // until there is a master; below 0 there never is
	itself  bool          // the master has the command's pid
	again   time.Duration // until there is another one, where that ends and this does not; below 0 there never is
	ends    bool          // it ends as soon as the master is there
	ignores bool          // it does not end by TERM
	first   *generation
}

func (c *command) Named() bool      { return c.named }
func (c *command) Daemonised() bool { return false }
func (c *command) Twin() int        { return 0 }

func (c *command) Signal(sig life.Signal, _ func(error)) {
	c.w.Lock()
	first := c.first
	c.w.note("%s to the command", sig)
	c.w.Unlock()
	if first != nil {
		first.Signal(sig)
	}
	if c.itself && first != nil {
		return
	}
	switch sig {
	case life.TERM:
		if !c.ignores {
			c.end(exit{code: 143})
		}
	case life.INT, life.QUIT:
		c.end(exit{code: 130})
	}
}

func (c *command) Find(ctx context.Context) (life.Generation, error) {
	c.w.works(ctx)
	wait := c.after
	c.w.Lock()
	if c.first != nil { // a second master below a command that goes on
		wait = c.again
	}
	c.w.Unlock()
	if wait < 0 {
		wait = 1000 * time.Hour
	}
	select {
	case <-time.After(wait):
	case <-c.done:
		return nil, endError{c.exit}
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	c.w.Lock()
	defer c.w.Unlock()
	if c.dead() {
		return nil, endError{c.exit}
	}
	if c.first != nil {
		c.first.closed = true // the next one has its listener
	}
	c.first = c.w.spawn()
	c.w.steered = c.first
	if c.itself {
		c.first.process.pid, c.first.process.done = c.pid, c.done
	}
	if c.ends {
		c.endLocked(exit{})
	}
	return c.first, nil
}

// world is all that a life stands on, and who checks what it does.
type world struct {
	sync.Mutex
	seed      uint64
	settings  life.Settings
	begun     time.Time
	over      chan struct{}
	strikes   *rand.Rand // what happens in the very moment of a line of the log; nil: nothing
	terminate func()     // sends TERM
	fate      *fate      // of each generation; nil: drawn

	probes      bool        // each is asked whether it answers
	apart       bool        // generations have listeners of their own
	shared      bool        // which share one socket
	steered     *generation // then, to which new connections go
	command     *command
	adopted     *life.Adopted
	generations []*generation
	numbers     map[int]*generation // by the numbers that the log gives them
	coming      *generation         // generation 1 until it serves, as the log says
	serving     *generation         // as the log says
	everServed  bool
	stopped     bool // a signal that stops was sent
	stoppedAt   time.Time
	stopping    time.Time           // when the log said so
	slow        bool                // the log says that generation 1 was not ready in time
	plain       bool                // the log says that the command is no gunicorn
	nothing     bool                // the log has said that nothing serves
	ending      bool                // what is left is being ended
	logged      string              // the last line of the log
	struck      bool                // something has ended a generation that was not to end
	reasons     int                 // for handoffs to come: requests, changes
	waiting     int                 // who has asked for one and waits for it
	asking      int                 // who is still to be told how one ends
	resized     map[life.Signal]int // TTIN and TTOU: how many were sent and not delivered
	disk        life.Content        // what is watched holds this
	moves       uint64              // how often it has moved, as far as was seen
	moving      int                 // it is not at rest
	unseen      uint64              // and how often since
	gaveUp      bool                // it moves with each generation, and the log says so
	unknown     bool                // nobody knows what it holds
	looking     time.Duration       // how long a look at it takes
	tells       chan<- life.Change  // who is told of it
	may         bool                // one more handoff may come, since it has moved and is what it was
	wrote       []life.Written      // the files that were written last
	tooShort    time.Duration       // that a handoff was let take until it gave way, since one has succeeded
	paused      time.Time           // until when a handoff waits for which each generation is the cause
	memory      memory
	roomLooked  bool              // a handoff has begun, and looks or waits for room
	roomed      time.Time         // since when a handoff waits for room; zero where none does
	tasks       []context.Context // in which tasks have worked
	foreign     bool              // the successor was begun by somebody else
	failures    int               // handoffs that failed, and may be tried again
	failedAt    time.Time         // when the last one did
	attempts    int
	faults      []string
	story       []string
}

// note keeps what happened, for a life in which something was wrong.
func (w *world) note(format string, args ...any) {
	w.story = append(w.story, fmt.Sprintf("%10.3fs ", time.Since(w.begun).Seconds())+fmt.Sprintf(format, args...))
}

func (w *world) fault(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	w.faults = append(w.faults, text)
	w.note("FAULT: %s", text)
}

// spawn adds a generation, with the world locked.
func (w *world) spawn() *generation {
	n := len(w.generations) + 1
	r := rand.New(rand.NewPCG(w.seed, uint64(n)))
	g := &generation{process: process{w: w, pid: 1000 + n, done: make(chan struct{})}, number: n, reads: w.disk, begun: time.Now(), fate: drawFate(r, n == 1)}
	if w.fate != nil {
		g.fate = *w.fate
	}
	g.base, g.target, g.there = g.workers, g.workers, g.workers
	if w.apart { // gunicorn brings up no successor
		g.foreign, g.sleeps = false, 0
	}
	w.generations = append(w.generations, g)
	w.note("generation %d is there: %+v", n, g.fate)
	if g.lives > 0 {
		time.AfterFunc(g.lives, func() { w.strike(g, g.last) })
	}
	if g.leaves {
		g.left = true
	}
	return g
}

// strayOf is the successor that somebody else has asked a generation for.
func (w *world) strayOf(g *generation) *generation {
	for _, other := range w.generations {
		if other.stray && !other.dead() && w.serving == g {
			return other
		}
	}
	return nil
}

// usr2 has somebody else ask the serving generation for a successor.
func (w *world) usr2() {
	w.Lock()
	defer w.Unlock()
	if w.apart || w.serving == nil || w.serving.termed || w.serving.asked || w.alive() != 1 || w.serving.dead() || w.stopped {
		return // it would be ignored
	}
	w.note("USR2 from somebody else")
	next := w.spawn()
	next.stray, next.mixed = true, true
}

// alive is how many generations live.
func (w *world) alive() (n int) {
	for _, g := range w.generations {
		if !g.dead() {
			n++
		}
	}
	return n
}

// strike ends a generation from outside.
func (w *world) strike(g *generation, e exit) {
	w.Lock()
	defer w.Unlock()
	if !g.dead() {
		w.note("generation %d is struck", g.number)
		w.struck = true
		g.endLocked(e)
	}
}

// strikeFirst ends the first generation from outside.
func (w *world) strikeFirst() {
	w.Lock()
	first := w.generations[0]
	w.Unlock()
	w.strike(first, exit{code: 137})
}

// atOnce has something happen in the moment in which the loop or its task has
// just come to something.
func (w *world) atOnce(what int) {
	w.Lock()
	n := len(w.generations)
	if n == 0 {
		w.Unlock()
		return
	}
	g := w.generations[max(n-1-what%2, 0)]
	w.Unlock()
	if what%4 != 0 {
		w.strike(g, exit{code: 137})
	}
	if what%4 != 1 {
		w.stop()
		w.terminate()
	}
}

// meanwhile has a stop come in the moment in which a task has got what it waited
// for, and has not told the loop yet.
func (w *world) meanwhile() {
	w.Lock()
	stops := w.strikes != nil && chance(w.strikes, 1)
	w.Unlock()
	if stops {
		w.stop()
		w.terminate()
	}
}

// works notes the context of a task.
func (w *world) works(ctx context.Context) {
	w.Lock()
	defer w.Unlock()
	w.tasks = append(w.tasks, ctx)
}

func chance(r *rand.Rand, percent int) bool { return r.IntN(100) < percent }

func some(r *rand.Rand, most time.Duration) time.Duration {
	return time.Duration(r.Int64N(int64(most))).Round(time.Millisecond)
}

func drawFate(r *rand.Rand, first bool) fate {
	f := fate{
		load: some(r, 20*time.Second), finish: some(r, 40*time.Second), promotion: some(r, 2*time.Second),
		workers: 1 + r.IntN(8), last: exit{code: r.IntN(4), unknown: chance(r, 5)},
		deaf: chance(r, 10), leaves: chance(r, 20), foreign: chance(r, 5), refuses: chance(r, 10),
	}
	if chance(r, 5) {
		f.sleeps = some(r, 2*time.Minute)
	}
	f.stuck, f.numb = chance(r, 2), chance(r, 3)
	if chance(r, 10) {
		f.lives = some(r, 5*time.Minute)
	}
	if chance(r, 20) {
		f.loses = some(r, time.Minute)
	}
	own := rand.New(rand.NewPCG(r.Uint64(), 0))
	if chance(own, 5) {
		f.drops, f.starves = 1+own.IntN(f.workers), own.IntN(3) == 0
	}
	f.dying, f.writes = chance(own, 5) && !first || chance(own, 1), chance(own, 10)
	f.names = chance(own, 50)
	f.lingers = []time.Duration{0, 20 * time.Millisecond, 3 * time.Second, time.Minute}[own.IntN(4)]
	f.unsteered, f.holds = chance(own, 3) && !first, some(own, 2*time.Second)
	if chance(own, 20) {
		f.holds = some(own, 5*time.Minute)
	}
	if chance(own, 20) {
		f.busy = some(own, time.Minute)
	}
	if chance(own, 50) {
		f.answers = some(own, []time.Duration{time.Second, 40 * time.Second}[own.IntN(2)])
	}
	f.mute = chance(own, 10) && !first || chance(own, 2)
	if chance(own, 30) {
		f.parts = some(own, 30*time.Second)
	}
	if chance(r, 10) {
		f.immortal = []int{1, 2, 3, 1_000_000}[r.IntN(4)]
	}
	if sick := 10; chance(r, sick) && !first || chance(r, 3) {
		f.never = true
	} else if chance(r, sick) && !first || chance(r, 3) {
		f.fails = exit{code: 1 + r.IntN(4)}
	}
	return f
}

// checks, with the world locked

// accepting is how many generations accept requests.
func (w *world) accepting() (n int) {
	for _, g := range w.generations {
		if g.accepts() {
			n++
		}
	}
	return n
}

// checkTerm: the old generation gets no TERM before the successor is ready with
// all its workers.
func (w *world) checkTerm(g *generation) {
	if w.stopped || g.dead() || !g.ready {
		return
	}
	for _, other := range w.generations {
		justNow := other.dead() && !other.known && other.diedAt.Equal(time.Now()) // nobody can have known
		if other != g && other.ready && !other.lost && (other.accepts() || justNow) {
			return
		}
	}
	w.fault("TERM to generation %d, and no other is ready", g.number)
}

// checkDrained: what gets nothing new may finish what it holds for DRAIN, and for a second
// at least where another handoff is to come. What waits to be accepted is given half a minute.
func (w *world) checkDrained(g *generation) {
	if w.serving != nil && w.serving.dead() {
		return // the end of all
	}
	if least := min(w.settings.Drain, time.Second); w.apart && !w.stopped && time.Now().Before(g.empty) && time.Since(g.passed) < least {
		w.fault("TERM to generation %d, which holds connections", g.number)
	}
	if w.apart && !w.stopped && time.Now().Before(g.passed.Add(g.busy)) && time.Since(g.passed) < 30*time.Second {
		w.fault("TERM to generation %d, while clients wait to be accepted by it", g.number)
	}
}

// checkClosed: nothing is left of the sockets of those that have gone.
func (w *world) checkClosed() {
	for _, g := range w.generations {
		if g.dead() && !g.closed && g != w.serving {
			w.fault("generation %d has gone, and its listener is open", g.number)
		}
	}
}

// checkSpawn: one handoff at a time, at most two generations, and each handoff
// has a reason.
func (w *world) checkSpawn(g *generation, early bool) {
	if g.next != nil && !early {
		w.fault("a handoff begins, and generation %d still has a successor", g.number)
	}
	for _, other := range w.generations {
		if other != g && !(early && other == g.next) && (!other.dead() || other.left) && !other.stray && other != g.late {
			w.fault("a handoff begins while generation %d is there", other.number)
		}
	}
	w.checkRoom(g, early)
	if !w.roomLooked {
		w.checkReason(g)
	}
	w.roomLooked, w.roomed = false, time.Time{}
	if w.stopped && time.Now().After(w.stoppedAt) {
		w.fault("a handoff begins after a stop")
	}
}

// checkReason: each handoff has a reason.
func (w *world) checkReason(g *generation) {
	w.attempts++
	again := g.mixed && !g.replaced
	g.replaced = true
	switch {
	case w.reasons+w.waiting > 0:
		w.reasons, w.waiting = 0, 0 // any number of changes lead to one
	case w.failures > 0 && w.settings.Retry > 0:
		w.failures--
	case again:
	case w.may:
		w.may = false
	default:
		w.fault("a handoff begins that nobody asked for")
	}
}

// checkEnd: what is ended by force is never the generation that serves.
func (w *world) checkEnd(g *generation) {
	if g == w.serving {
		w.fault("generation %d serves and is ended", g.number)
	}
}

// sent: no signal that stops goes to a generation while nobody stops, but TERM to
// one that has a ready successor; see checkTerm.
func (w *world) sent(g *generation, sig life.Signal) {
	w.note("%s to generation %d", sig, g.number)
	if !w.stopped && (sig == life.INT || sig == life.QUIT) {
		w.fault("%s to generation %d, and nobody stops", sig, g.number)
	}
}

// checkInstant: some ready generation accepts at every instant.
func (w *world) checkInstant() {
	w.Lock()
	defer w.Unlock()
	if w.everServed && !w.stopped && !w.struck && w.accepting() == 0 {
		w.fault("nothing accepts requests")
	}
	if n := w.alive(); n > 2 {
		w.fault("%d generations live", n)
	}
	w.checkGivesWay()
	w.checkWaits()
}

// checkGivesWay: a hopeless handoff does not go on when another one is to come.
func (w *world) checkGivesWay() {
	if w.stopped || w.serving == nil || w.serving.dead() || w.reasons+w.waiting == 0 ||
		w.settings.Jitter > 0 || time.Now().Before(w.paused) {
		return
	}
	g := w.generations[len(w.generations)-1]
	if g == w.serving || g.ready && (!g.probing || w.answers(g)) || g.failed || g.dead() || g.stray || !g.healthy() || !w.serving.healthy() {
		return
	}
	if !g.dropped.IsZero() && !g.ready && time.Since(g.dropped) > 3*time.Second && time.Since(g.begun) > 2*w.tooShort+time.Second {
		w.fault("generation %d has lost a worker, and does not give way", g.number)
	}
	known := !w.serving.mixed && !w.serving.alien && (w.adopted == nil || w.adopted.Generation != life.Generation(w.serving)) // how long it took
	if took := max(w.serving.took, 2*time.Second, w.tooShort); known && time.Since(g.begun) > 2*took+time.Second {
		w.fault("generation %d is hopeless, and does not give way", g.number)
	}
}

// checkLost: a successor that has lost as many workers as it is to have, or two of them
// for want of memory, is rolled back at once.
func (w *world) checkLost(ctx context.Context, g *generation, all bool) {
	w.Lock()
	defer w.Unlock()
	if all && w.serving != nil && !w.serving.dead() && ctx.Err() == nil {
		w.fault("generation %d has lost all its workers, and goes on", g.number)
	}
}

// The world is what is watched, too.

func (w *world) Moves() uint64 {
	w.Lock()
	defer w.Unlock()
	return w.moves
}

func (w *world) Moving() bool {
	w.Lock()
	defer w.Unlock()
	return w.moving > 0
}

func (w *world) Written(time.Time) []life.Written {
	w.Lock()
	defer w.Unlock()
	return w.wrote
}

func (w *world) Rest(ctx context.Context) (life.Content, uint64, error) {
	w.Lock()
	takes := w.looking
	w.Unlock()
	select {
	case <-time.After(takes):
	case <-ctx.Done():
		return life.Content{}, 0, ctx.Err()
	}
	w.Lock()
	defer w.Unlock()
	if w.unknown {
		return life.Content{}, 0, errors.New("it does not answer")
	}
	w.seen()
	return w.disk, w.moves, nil
}

// blindToDisk says whether nobody can tell, or was able to tell for long, whether
// what is watched has moved while it was read.
func (w *world) blindToDisk() bool { return w.unknown || w.looking > time.Minute || w.gaveUp }

// seen: what was written is seen.
func (w *world) seen() { w.moves, w.unseen = w.moves+w.unseen, 0 }

// movesLocked notes that what is watched has moved, with the world locked. It is
// seen a little later.
func (w *world) movesLocked() {
	w.unseen++
	time.AfterFunc(10*time.Millisecond, func() {
		w.Lock()
		defer w.Unlock()
		w.seen()
	})
	for _, g := range w.generations {
		g.mixed = g.mixed || !g.ready
	}
}

// flaps has what is watched hold something else for a moment.
func (w *world) flaps() {
	w.Lock()
	defer w.Unlock()
	w.note("what is watched moves for a moment")
	w.may = true
	w.movesLocked()
}

// writes has what is watched hold something else, which is told when it has been
// at rest.
func (w *world) writes(path string, file life.Written) {
	w.Lock()
	w.note("a generation writes what is watched")
	change := life.Change{Paths: []string{path}, Content: w.disk, Since: time.Now()}
	w.wrote = []life.Written{file}
	change.Content[1]++
	w.disk = change.Content
	w.movesLocked()
	w.moving++
	told := w.tells
	w.Unlock()
	defer func() {
		w.Lock()
		defer w.Unlock()
		w.moving--
	}()
	time.Sleep(250 * time.Millisecond)
	w.request("a change of its own")
	select {
	case told <- change:
	case <-time.After(time.Second):
	case <-w.over:
	}
}

// The world is the life's host, too.

func (w *world) Suspend() {}

func (w *world) Keep(g life.Generation, content life.Content) {
	w.Lock()
	defer w.Unlock()
	kept := g.(*generation)
	if content != (life.Content{}) && (kept.mixed || kept.reads != content) {
		w.fault("generation %d is kept as one that has read what it has not", kept.number)
	}
}

func (w *world) Strays(known []life.Generation) (strays []status.Stray, err error) {
	w.Lock()
	defer w.Unlock()
	for _, g := range w.generations {
		if !g.dead() && !slices.Contains(known, life.Generation(g)) {
			strays = append(strays, status.Stray{PID: g.pid, Is: status.StraySuccessor})
		}
	}
	return strays, nil
}

func (w *world) Clear(ctx context.Context, _ []life.Generation, wait, grace time.Duration, begin func(int)) error {
	time.Sleep(wait)
	w.Lock()
	left, immortal := 0, false
	for _, g := range w.generations {
		if !g.dead() || g.left {
			left++
			immortal = immortal || g.immortal > 0
		}
	}
	if w.command != nil && !w.command.dead() {
		left++
	}
	w.Unlock()
	if left == 0 {
		return nil
	}
	begin(left)
	time.Sleep(grace)
	if immortal {
		<-ctx.Done()
	}
	w.Lock()
	defer w.Unlock()
	for _, g := range w.generations {
		w.checkCut(g, grace)
		if g.immortal > 0 && !g.dead() {
			g.immortal = 0
			return errOutlives
		}
		g.endLocked(exit{code: 137})
		g.left = false
	}
	if w.command != nil {
		w.command.endLocked(exit{code: 137})
	}
	return nil
}

// The world is the life's teller, too, and does not listen.

func (w *world) Ready(string)     {}
func (w *world) Reloading(string) {}
func (w *world) Status(string)    {}
func (w *world) Stopping(string)  {}
func (w *world) Watchdog()        {}
