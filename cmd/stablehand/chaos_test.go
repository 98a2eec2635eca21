package main_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stablehand/stablehand/internal/load"
)

var (
	chaosRounds = flag.Int("rounds", 0, "how many rounds TestChaos goes through, and tells of each; 0: a few, silently")
	chaosSeed   = flag.Uint64("seed", 1, "with which seed TestChaos begins")
	chaosAtOnce = flag.Int("at-once", 3, "how many rounds of TestChaos run at a time")
)

// fewRounds are those that run with all other tests, always the same.
const fewRounds = 30

// TestChaos goes through rounds with a real gunicorn under load, each of which
// draws from its seed how it is set up, what goes wrong, and at which step. What
// is right is judged from outside, by the process table, sockets, answers and the
// exit code, and never by what stablehand says of itself: its log only tells when
// a step is reached, and is shown where something was wrong.
//
// A round promises:
//   - While a ready generation lives, no request is refused, reset or answered by
//     an error. What a fault itself takes is excused as narrowly as it can be told:
//     see [excuse].
//   - At most two generations live at any time.
//   - When all has settled one generation lives, below stablehand, nothing else has
//     the listening socket, and it answers what is on disk.
//   - stablehand ends when it was told to, or when gunicorn was ended by a fault:
//     in bounded time, with the code that the contract says, and nothing is left.
//
// The same seed draws the same round, but not the same timing:
//
//	go test ./cmd/stablehand -run TestChaos -seed=N -rounds=1
func TestChaos(t *testing.T) {
	if testing.Short() {
		t.Skip("left out of a short run")
	}
	if os.Getuid() != 0 {
		t.Skip("root is needed, to see and do what goes wrong")
	}
	needNamespace(t, asInit)
	needOtherUser(t, python(t, newest))
	t.Parallel()
	rounds := *chaosRounds
	if rounds == 0 {
		rounds = fewRounds
	}
	var next, failed atomic.Int64
	var lanes sync.WaitGroup
	for range *chaosAtOnce {
		lanes.Go(func() {
			for n := next.Add(1) - 1; n < int64(rounds); n = next.Add(1) - 1 {
				seed := *chaosSeed + uint64(n)
				begun := time.Now()
				ok := t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) { goThrough(t, draw(seed)) })
				if !ok {
					failed.Add(1)
				}
				if *chaosRounds > 0 {
					fmt.Printf("%d of %d, %d failed: seed=%d %v in %.1fs: %s\n", n+1, rounds, failed.Load(), seed,
						map[bool]string{true: "ok", false: "FAILED"}[ok], time.Since(begun).Seconds(), draw(seed))
				}
			}
		})
	}
	lanes.Wait()
}

// round is one round under way.
type round struct {
	plan
	t        *testing.T
	dir      string
	port     int
	versions int    // that were written
	wanted   string // is to be answered once what is on disk serves
	good     bool   // it can be
	sound    bool   // it has been so since the act began
	p        *program
	programs []*program // that and those before it
	w        *watcher
	loads    []*load.Run
	logs     []string // theirs, at the end
	begun    time.Time
	mark     int // how much of the log was there when the act began
	undoing  sync.WaitGroup
	done     chan struct{}  // closed when all is over
	frees    []func() error // what is left to be undone at the end

	mu       sync.Mutex
	story    []string
	faults   []string // what was wrong
	failures []load.Request
	excuses  []*excuse
	latest   map[string]time.Time // when a version was last answered
	doom     doom
	deprived time.Time // since when gunicorn may have lacked what it needs
	restored time.Time // when it lacks nothing any more
	stopped  time.Time // when it was told to stop
	codes    []int     // with which it may end then
}

// doom is what the faults have done to the site.
type doom struct {
	since time.Time
	must  bool  // it has to end; else it may
	codes []int // with one of these
}

// excuse is for requests that were lost with a process which a fault has ended or
// stopped: they began before until and ended after from. A connection that is
// refused is never excused by one, nor an answer that is an error.
type excuse struct {
	from, until time.Time
	why         string
}

// slack is how long after a signal was sent to it a process may still accept.
const slack = 200 * time.Millisecond

func goThrough(t *testing.T, p plan) {
	r := &round{plan: p, t: t, begun: time.Now(), latest: map[string]time.Time{}, codes: []int{0}, sound: true}
	r.done = make(chan struct{})
	r.w = &watcher{known: map[int]kin{}, wrong: r.wrong}
	defer r.report()
	r.prepare()
	defer r.clean()
	var watching sync.WaitGroup
	defer watching.Wait()
	defer r.undoing.Wait()
	defer close(r.done)
	r.launch()
	watching.Go(func() { r.w.run(r.done) })
	r.boot()
	for _, a := range r.acts[1:] {
		r.act(a)
	}
	r.undoing.Wait()
	r.settle()
	r.stop(r.plan.stop)
	r.judgeEnd()
	r.judgeRequests()
}

func (r *round) say(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.story = append(r.story, fmt.Sprintf("%s %6.3f ", time.Now().Format(clock), time.Since(r.begun).Seconds())+fmt.Sprintf(format, args...))
}

// clock is how times are told, as the log tells them.
const clock = "15:04:05.000"

// wrong notes that a promise was broken.
func (r *round) wrong(format string, args ...any) {
	r.say("WRONG: "+format, args...)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.faults = append(r.faults, fmt.Sprintf(format, args...))
}

// report tells a round in which something was wrong.
func (r *round) report() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, p := range r.programs {
		if log := r.logs[i]; strings.Contains(log, "DATA RACE") || p.panicked(log) {
			r.faults = append(r.faults, p.name+" raced or panicked")
		}
	}
	if len(r.faults) == 0 {
		return
	}
	var b strings.Builder
	for i, p := range r.programs {
		fmt.Fprintf(&b, "[%s]\n%s", p.name, r.logs[i])
	}
	// What was wrong comes last: of a long output the end is what is kept.
	told := fmt.Sprintf("%s\n%s\nseed=%d: %s\nagain: go test ./cmd/stablehand -run TestChaos -seed=%d -rounds=1\n%s\n",
		b.String(), r.plan, r.seed, strings.Join(r.story, "\n"), r.seed, strings.Join(r.faults, "\n"))
	if *chaosRounds > 0 {
		fmt.Print(told) // now, and not when all others have ended
		r.t.Fail()
		return
	}
	r.t.Error(told)
}

func (r *round) path(name string) string { return filepath.Join(r.dir, name) }

func (r *round) check(err error) {
	if err != nil {
		r.t.Helper()
		r.t.Fatal(err)
	}
}

// prepare makes the directories: etc is watched, run is a file system of its own.
func (r *round) prepare() {
	var err error
	r.dir, err = os.MkdirTemp(tempDir, "chaos")
	r.check(err)
	for _, name := range []string{"", "etc", "run", "start"} {
		r.check(os.MkdirAll(r.path(name), 0o755))
		r.check(os.Chmod(r.path(name), 0o777))
	}
	r.check(unix.Mount("tmpfs", r.path("run"), "tmpfs", 0, "size=256k,nr_inodes=100,mode=777"))
	app, err := os.ReadFile("testdata/chaos.py")
	r.check(err)
	r.check(os.WriteFile(r.path("app.py"), app, 0o644))
	r.port, err = freePort()
	r.check(err)
	stablehand, err := binary()
	r.check(err)
	start := "#!/bin/sh\n"
	if r.hidepid {
		start += "mount -o remount,hidepid=2 /proc || exit 99\n"
	}
	start += "exec "
	if r.other {
		start += fmt.Sprintf("setpriv --reuid=%d --regid=%d --clear-groups ", nobody, nobody)
	}
	start += stablehand + ` "$@"` + "\n"
	r.check(os.WriteFile(r.path("start/stablehand"), []byte(start), 0o755))
	r.write("good")
}

// clean ends what there is left of the round.
func (r *round) clean() {
	for _, l := range r.loads {
		l.Stop()
	}
	for _, p := range slices.Backward(r.programs) {
		if p.handle != nil && !p.hasEnded() {
			p.handle.Kill() // of another user, it does not end with unshare
		}
		if err := p.end(); err != nil {
			r.wrong("%v", err)
		}
	}
	for _, p := range r.programs {
		r.logs = append(r.logs, p.logged())
	}
	for _, free := range r.frees {
		free()
	}
	unix.Unmount(r.path("run"), unix.MNT_DETACH)
	os.RemoveAll(r.dir)
}

func (r *round) address() string { return fmt.Sprintf("127.0.0.1:%d", r.port) }

func (r *round) url() string { return "http://" + r.address() + "/" }

// launch starts stablehand, beside the one before it if there was one.
func (r *round) launch() {
	p := &program{name: fmt.Sprintf("stablehand-%d", len(r.programs)+1), mode: asInit}
	if r.below {
		p.mode = notAsInit
	}
	if len(r.programs) > 0 {
		p.beside = r.programs[0]
	}
	p.log = r.path(p.name + ".log")
	p.words = []string{r.path("start/stablehand"), "gunicorn", "app:wsgi", "--config=" + r.path("etc/gunicorn.conf.py"),
		fmt.Sprintf("--workers=%d", r.workers), "--worker-class=" + r.class, "--graceful-timeout=8", "--timeout=60"}
	if !r.bind {
		p.words = append(p.words, "--bind="+r.address(), "--pid="+r.path("run/gunicorn.pid"))
	}
	if r.class == "gthread" {
		p.words = append(p.words, "--threads=3")
	}
	if r.recycle {
		p.words = append(p.words, "--max-requests=300", "--max-requests-jitter=100")
	}
	if r.preload {
		p.words = append(p.words, "--preload")
	}
	r.mu.Lock() // what is undone later looks at them
	r.programs, r.p, r.mark = append(r.programs, p), p, 0
	r.mu.Unlock()
	r.say("start %s", strings.Join(p.words, " "))
	r.check(p.start(r.dir, r.environment()))
	r.w.add(p.first)
	if p.beside != nil {
		r.w.add(p.pid)
	}
}

func (r *round) environment() []string {
	stablehand, err := binary()
	r.check(err)
	bind := ""
	if r.bind {
		bind = r.address()
	}
	return append(os.Environ(), "STABLEHAND_BIND="+bind,
		"PATH="+strings.Join([]string{filepath.Dir(stablehand), python(r.t, r.env), os.Getenv("PATH")}, ":"),
		"HOME="+r.dir, "TMPDIR="+r.path("run"), "XDG_RUNTIME_DIR="+r.path("run"),
		"GORACE="+exitOnRace, "PYTHONDONTWRITEBYTECODE=1", "CONTENT="+r.path("etc/content.json"),
		"STABLEHAND_WATCH="+r.path("etc"), "STABLEHAND_RETRY=1s", "STABLEHAND_LOG_LEVEL=debug",
		"STABLEHAND_READY_TIMEOUT="+r.ready.String(), "STABLEHAND_SOAK="+r.soak.String())
}

// write puts content in its place. What is not good fails as it is called.
func (r *round) write(what string) {
	config, fails := "", what
	switch what {
	case "good":
		fails = ""
	case "exit-1":
		config = "raise RuntimeError('this configuration does not load')\n"
	}
	if r.good = fails == ""; r.good {
		r.versions++
		r.wanted = fmt.Sprintf("v%d", r.versions)
	}
	content, err := json.Marshal(map[string]any{"version": r.wanted, "load": r.load.Seconds(), "fails": fails})
	r.check(err)
	r.put("gunicorn.conf.py", config)
	r.put("content.json", string(content))
	r.say("content is %s, version %s", what, r.wanted)
}

// put renames a file to its place.
func (r *round) put(name, text string) {
	r.check(os.WriteFile(r.path(".new"), []byte(text), 0o644))
	r.check(os.Rename(r.path(".new"), r.path("etc/"+name)))
}

func (r *round) content() string {
	text, err := os.ReadFile(r.path("etc/content.json"))
	r.check(err)
	return string(text)
}

// over says whether the round goes to its end.
func (r *round) over() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.stopped.IsZero() || r.doom.must || r.p.hasEnded()
}

// wait waits until something is so, or the round is over.
func (r *round) wait(limit time.Duration, is func() bool) bool {
	for deadline := time.Now().Add(limit); !r.over(); time.Sleep(10 * time.Millisecond) {
		if is() {
			return true
		}
		if time.Now().After(deadline) {
			return false
		}
	}
	return false
}

// boot lets the first generation come up, and puts it under load.
func (r *round) boot() {
	for _, s := range r.acts[0].strikes {
		r.strike(s)
	}
	if !r.wait(patience, r.answers) {
		if !r.over() {
			r.wrong("nothing is answered %s after the start", patience)
		}
		return
	}
	r.wait(patience, r.manned)
	for _, o := range []load.Options{
		{URL: r.url(), Clients: 3, Pause: 20 * time.Millisecond},
		{URL: r.url() + "slow", Clients: 1, Pause: 100 * time.Millisecond},
	} {
		o.Timeout, o.Each = 30*time.Second, r.asked
		r.loads = append(r.loads, load.Start(context.Background(), o))
	}
}

// manned says whether the oldest generation has all its workers, and all have
// loaded what is on disk: one that loads still would take what comes next, and
// gunicorn ends where that fails.
func (r *round) manned() bool {
	lots := r.w.fresh()
	if len(lots) == 0 {
		return false
	}
	all, beaten := beats(lots[0].master)
	return all == r.workers && beaten == all
}

// answers says whether the site answers at all.
func (r *round) answers() bool {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	var ok atomic.Bool
	one := load.Start(ctx, load.Options{URL: r.url(), Clients: 1, Pause: time.Hour, Each: func(q load.Request) {
		ok.Store(q.Err == nil)
		cancel()
	}})
	<-ctx.Done()
	one.Stop()
	return ok.Load()
}

// asked notes a request of the load.
func (r *round) asked(q load.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if q.Err != nil {
		r.failures = append(r.failures, q)
		return
	}
	if q.Ended.After(r.latest[q.Version]) {
		r.latest[q.Version] = q.Ended
	}
}

// act makes a change, and lets the faults strike in the handoff that comes of it.
func (r *round) act(a act) {
	if r.over() {
		return
	}
	r.wait(10*time.Second, r.manned)
	r.calm()
	before := r.w.count()
	r.mark = len(r.p.logged())
	r.change(a.change)
	r.sound = r.good // also with HUP, of what is there
	for _, s := range a.strikes {
		r.strike(s)
	}
	if !r.sound {
		r.wait(4*time.Second, func() bool { return false })
		return
	}
	r.wait(15*time.Second, func() bool {
		return r.w.count() > before && len(r.w.now()) == 1 && r.answered(r.wanted) && r.manned()
	})
}

// calm notes that a stop from now on ends with gunicorn's own code.
func (r *round) calm() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopped.IsZero() {
		r.codes = []int{0}
	}
}

// change makes a change.
func (r *round) change(how string) {
	switch how {
	case "HUP":
		r.say("HUP")
		send(syscall.SIGHUP, r.p.pid)
	default:
		r.write(how)
	}
}

// answered says whether a version has been answered of late.
func (r *round) answered(version string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return time.Since(r.latest[version]) < time.Second
}

// strike waits for the step at which a fault is to strike, and lets it.
func (r *round) strike(s strike) {
	if !r.wait(15*time.Second, func() bool { return r.reached(s.step) }) {
		r.say("%s: the step is not reached", s)
		return
	}
	time.Sleep(s.after)
	if r.over() && s.step != "stop" {
		return
	}
	r.say("%s", s)
	faultNamed(s.fault).strike(r, s)
}

// logMarks tell that a step is reached. That of boot and of warm tells the process
// table.
var logMarks = map[string]*regexp.Regexp{
	"spawn":   regexp.MustCompile(`msg=handoff `),
	"warm":    regexp.MustCompile(`msg=spawned `),
	"soak":    regexp.MustCompile(`msg=warmed `),
	"retire":  regexp.MustCompile(`msg=serving generation=([2-9]|\d\d)`),
	"promote": regexp.MustCompile(`msg=retired `),
}

func (r *round) reached(step string) bool {
	switch step {
	case "boot":
		return len(r.w.now()) > 0
	case "stop":
		return true
	}
	return r.saw(logMarks[step])
}

// saw says whether the log has such a line since the act began.
func (r *round) saw(pattern *regexp.Regexp) bool {
	return pattern.MatchString(r.p.logged()[r.mark:])
}

// committed says whether the last handoff since the act began has come so far that its
// successor serves.
func (r *round) committed() bool {
	text := r.p.logged()[r.mark:]
	last := func(step string) int {
		all := logMarks[step].FindAllStringIndex(text, -1)
		if len(all) == 0 {
			return -1
		}
		return all[len(all)-1][0]
	}
	return last("retire") > last("spawn")
}

// settle waits until all is as it should be, with what is on disk or a last good
// content.
func (r *round) settle() {
	if r.over() {
		return
	}
	if !r.leave || !r.good {
		r.write("good")
	}
	why, calm := "", 0
	settled := r.wait(patience, func() bool {
		if why = r.unsettled(); why != "" {
			calm = 0
			return false
		}
		calm++
		time.Sleep(100 * time.Millisecond)
		return calm > 5
	})
	if !settled && !r.over() {
		r.wrong("not settled after %s: %s", patience, why)
	}
	if settled {
		r.say("settled")
		r.calm()
	}
}

// unsettled says what is not as it should be yet.
func (r *round) unsettled() string {
	lots := r.w.fresh()
	if len(lots) != 1 {
		return fmt.Sprintf("%d generations live", len(lots))
	}
	l := lots[0]
	if all, beaten := beats(l.master); all != r.workers || beaten != all {
		return fmt.Sprintf("%d of %d workers have beaten, there are to be %d", beaten, all, r.workers)
	}
	if !r.answered(r.wanted) {
		return fmt.Sprintf("%s is not answered", r.wanted)
	}
	r.mu.Lock()
	for version, at := range r.latest {
		if version != r.wanted && time.Since(at) < time.Second {
			defer r.mu.Unlock()
			return fmt.Sprintf("%s is still answered", version)
		}
	}
	r.mu.Unlock()
	socket := listening(r.port)
	if socket == 0 {
		return "nothing listens"
	}
	for _, q := range r.inside() {
		if !slices.Contains(l.members, q.pid) {
			return fmt.Sprintf("%v is there, too (has the socket: %v)", q, holds(q.pid, socket))
		}
	}
	if own := below(r.p.pid); len(r.programs) == 1 && !slices.ContainsFunc(own, func(q proc) bool { return q.pid == l.master }) {
		return "the generation is not below stablehand"
	}
	return ""
}

// inside lists what lives in the namespace but stablehand and our init.
func (r *round) inside() []proc {
	r.mu.Lock()
	first, own := r.programs[0].first, r.p.pid
	r.mu.Unlock()
	return slices.DeleteFunc(below(first, own), func(q proc) bool { return q.pid == own || q.zombie() })
}

// stop tells it to stop, if nobody has, and lets what is to strike then strike.
func (r *round) stop(signal string) {
	r.mu.Lock()
	told := !r.stopped.IsZero() || r.doom.must || r.p.hasEnded()
	if !told {
		r.stopped = time.Now()
	}
	r.mu.Unlock()
	if !told {
		r.say("%s", signal)
		send(unix.SignalNum("SIG"+signal), r.p.pid)
	}
	for _, s := range r.ending {
		r.say("%s", s)
		time.Sleep(s.after)
		faultNamed(s.fault).strike(r, s)
	}
}

// endsWithin is how long it may take to end: gunicorn's graceful timeout, and
// then what stablehand gives to what is left.
const endsWithin = 30 * time.Second

// judgeEnd waits for the end, and says what was wrong with it.
func (r *round) judgeEnd() {
	select {
	case <-r.p.ended:
	case <-time.After(endsWithin):
		r.wrong("it does not end in %s: %v", endsWithin, r.inside())
		return
	}
	r.say("it has ended with code %d", r.p.code)
	r.mu.Lock()
	codes, doomed, stopped := slices.Clone(r.codes), r.doom, !r.stopped.IsZero()
	r.mu.Unlock()
	switch {
	case doomed.must && !stopped:
		codes = doomed.codes
	case !doomed.since.IsZero():
		codes = append(codes, doomed.codes...)
	case !stopped && r.gunicornSuccumbed():
		r.doomed(doom{since: r.deprived, must: true})
		return
	case !stopped:
		r.wrong("it ended by itself, with code %d", r.p.code)
		return
	}
	if !doomed.since.IsZero() && !stopped {
		r.doomed(doom{since: doomed.since, must: true})
	}
	if !slices.Contains(codes, r.p.code) {
		r.wrong("it ended with code %d, and not with one of %v", r.p.code, codes)
	}
	if r.below {
		for _, q := range r.p.others() {
			if !q.zombie() {
				r.wrong("it has left %v", q)
			}
		}
	}
	if socket := listening(r.port); socket != 0 {
		r.wrong("something listens on port %d still", r.port)
	}
}

// succumbed are gunicorn's own last words where it could not have what it needs:
// a master ends when a fork fails, or a heartbeat file or a pidfile cannot be made.
var succumbed = regexp.MustCompile(`(?m)^(BlockingIOError|OSError): .*(Resource temporarily unavailable|No space left on device|Too many open files)`)

func gaveUp(p *program) bool { return succumbed.MatchString(p.logged()) }

// gunicornSuccumbed says whether gunicorn itself has ended of what a fault has
// taken away.
func (r *round) gunicornSuccumbed() bool {
	return !r.deprived.IsZero() && r.p.code != 0 && gaveUp(r.p)
}

// judgeRequests says which requests failed without an excuse.
func (r *round) judgeRequests() {
	for _, l := range r.loads {
		l.Stop()
	}
	const told = 5
	lost := slices.DeleteFunc(r.failures, func(q load.Request) bool { return r.excused(q) != "" })
	for _, q := range lost[:min(len(lost), told)] {
		r.wrong("of %d requests that failed one began at %s and ended at %s: %v", len(lost), q.Began.Format(clock), q.Ended.Format(clock), q.Err)
	}
}

func (r *round) excused(q load.Request) string {
	switch {
	case !r.stopped.IsZero() && q.Ended.After(r.stopped):
		return "stopping"
	case !r.doom.since.IsZero() && q.Ended.After(r.doom.since) && r.doom.must:
		return "nothing serves any more"
	case strings.Contains(q.Err.Error(), "refused"):
		return ""
	case r.deprivedDuring(q) && slices.ContainsFunc(r.programs, gaveUp):
		return "a master that gives up ends its workers by QUIT, in the midst of what they do"
	case strings.Contains(q.Err.Error(), "answered "):
		return "" // by an error
	}
	for _, e := range r.excuses {
		if q.Began.Before(e.until) && q.Ended.After(e.from) {
			return e.why
		}
	}
	return ""
}

func (r *round) deprivedDuring(q load.Request) bool {
	return q.Ended.After(r.deprived) && q.Began.Before(r.restored)
}
