package life

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/stablehand/stablehand/entrypoint/status"
)

// ExitFailed is the code of a life that could not go on, or does not know how
// gunicorn ended.
const ExitFailed = 1

// Life is the one event loop and its state, all of which belongs to the
// goroutine in Run. Boot and handoff are tasks, one at a time, in a goroutine of
// their own; what they find out they have the loop note.
type Life struct {
	settings Settings
	world    World
	log      *slog.Logger
	started  time.Time

	command   *launched   // nil where a running gunicorn was adopted
	serving   *generation // nil until the first is ready
	successor *generation // coming up: in boot generation 1, then a handoff's
	retiring  *generation // told to finish, once its successor serves
	drain     *drain      // of the retiring generation, and its end, where that goes on beside; nil if it does not
	numbered  int         // generations so far

	disk   Content // what is watched holds this, as far as is known
	before uint64  // how often that had moved before the command was started
	again  int     // generations in a row that may have read what was there for a moment
	recurs recurring
	counts totals

	notes   chan func()             // to be run by the loop: from the task, and from who asks
	ended   chan struct{}           // closed when the loop turns no more
	living  context.Context         // ends then, too
	cancel  context.CancelCauseFunc // ends the task; nil where none runs
	step    step                    // of the task
	now     *underway               // the handoff that is this task; nil if it is none
	last    *status.Handoff         // the last one that ended
	next    *requested              // the one to come, nil if there is none
	pause   time.Duration           // before the last retry of a failed handoff
	kept    []Signal                // for a master that is not there yet, or soaks
	blind   bool                    // it has been said that heartbeats cannot be read
	reloads bool                    // it has been said that gunicorn's own reloader is on

	unmeasured bool // it has been said that nobody knows what memory there is

	tooShort time.Duration // that a handoff was let take, until it gave way; 0 since one has succeeded
	late     *late         // after a handoff that was rolled back
	strays   strays        // beside the generations

	lookedFor  <-chan time.Time // fires when it is clear that the command is no gunicorn
	noGunicorn bool             // it is clear

	stopping  bool
	stopDelay <-chan time.Time // nil unless we still serve after SIGTERM
	kill      <-chan time.Time // nil unless STOP_TIMEOUT runs
	leaves    <-chan time.Time // nil unless a task outlives what it was about
	lost      bool             // nothing more is to be waited for
	failed    bool             // boot has failed: exit with code
	code      int
}

// launched is the command.
type launched struct {
	Command
	ended bool // the loop has taken note of its end
}

// generation is one generation and what the loop knows of it.
type generation struct {
	Generation
	number    int
	seen      time.Time       // since when it has been known
	since     time.Time       // since when it serves
	workers   int             // with which it began to
	wants     int             // the same, and what TTIN and TTOU have made of it since
	ours      bool            // it was begun by us, and seen to
	ready     bool            // all its workers are there, or it is what is left: it may answer
	took      time.Duration   // until it was ready, if it is ours
	before    uint64          // how often what is watched had moved when it was begun
	content   Content         // of what is watched, that it has read; zero if nobody knows
	doubt     bool            // that has moved meanwhile, and is what it was: no change tells of it
	tried     bool            // a handoff from it has begun
	whole     int             // workers that it had before it gave some up for a successor; like the next two, the tasks' own
	costs     int64           // bytes of memory that it took then
	regains   time.Time       // when it began to get them back
	delivered <-chan struct{} // closed when the last signal has been that it was to get as soon as it handles it; nil if none was

	told    atomic.Bool // it has got TERM from us
	steered atomic.Bool // it has a listener of its own, and new connections go there
	reached atomic.Bool // they have gone there at some time
	ended   bool        // the loop has taken note of its master's end
}

func newGeneration(g Generation, number int) *generation {
	return &generation{Generation: g, number: number, seen: time.Now()}
}

// dead says whether a process's end is known.
func dead(p Process) bool { return closed(p.Done()) }

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// end is closed when the command ends, and nil where that is no news.
func (c *launched) end() <-chan struct{} {
	if c == nil || c.ended {
		return nil
	}
	return c.Done()
}

// end is closed when the master ends, and nil where that is no news.
func (g *generation) end() <-chan struct{} {
	if g == nil || g.ended {
		return nil
	}
	return g.Done()
}

// errStopping is why a task ends when stablehand is told to stop.
var errStopping = errors.New("stablehand is stopping")

// New is a life before it begins. content is what is watched as it was before
// the command was started.
func New(s Settings, w World, content Content) *Life {
	l := &Life{settings: s, world: w, log: w.Log, started: time.Now(), disk: content, counts: newTotals(),
		notes: make(chan func()), ended: make(chan struct{})}
	l.before = l.moves()
	return l
}

// Run turns until the life is over, and returns the code to exit with. It begins
// with the command that was started, or, where that is nil, with a running
// gunicorn that was adopted. It is to be called once. Who asks before waits for it.
func (l *Life) Run(command Command, adopted *Adopted, signals <-chan Signal, changes <-chan Change) int {
	living, over := context.WithCancel(context.Background())
	defer over()
	l.living = living
	watchdog := l.watchdog()
	l.beginBoot(command, adopted)
	for !l.isOver() {
		select {
		case sig := <-signals:
			l.signal(sig)
		case change := <-changes:
			l.changed(change)
		case note := <-l.notes:
			note()
		case <-l.due():
			l.beginHandoff()
		case <-l.givenUp():
			l.giveUp()
		case <-l.command.end():
			l.command.ended = true
		case <-l.serving.end():
			l.serving.ended = true
			if !l.lookForHeir() {
				l.servingEnded()
			}
		case <-l.successor.end():
			l.successor.ended = true
		case <-l.retiring.end():
			l.retiring.ended = true
		case <-l.late.end():
			l.late.came.ended = true
		case <-l.late.left():
			l.late = nil
		case <-l.strays.due:
			l.lookAround()
		case <-l.stopDelay:
			l.terminate(TERM)
		case <-l.kill:
			l.killAll()
		case <-l.lookedFor:
			l.isNoGunicorn()
		case <-l.leaves:
			l.lose("a task does not end")
		case <-l.still():
			l.sayStill()
		case <-watchdog:
			l.world.Teller.Watchdog()
		}
	}
	l.withdraw(errStopping)
	l.abandon()
	if l.drain != nil { // it has as long as anything that is left
		l.tell(l.drain.generation)
	}
	close(l.ended)
	over()
	return l.leaveDeaf(signals)
}

// watchdog ticks twice as often as the teller wants to hear that the loop turns.
func (l *Life) watchdog() <-chan time.Time {
	if l.settings.Watchdog == 0 {
		return nil
	}
	return time.Tick(l.settings.Watchdog / 2)
}

// isOver says whether the life is over, and notes the exit code. What is left to
// do then is leave's.
func (l *Life) isOver() bool {
	switch {
	case l.lost:
		return true
	case l.cancel != nil:
		l.bound()
		return false // a task first ends what it has begun
	case l.failed:
		return true
	case l.serving == nil:
		return l.stopping && l.bootStopped()
	case !l.serving.ended, l.stopping && (l.retiring.end() != nil || l.successor.end() != nil):
		return false
	}
	l.exitWith(l.serving.Exit())
	return true
}

// bootStopped says whether what was stopped while booting has ended.
func (l *Life) bootStopped() bool {
	switch {
	case l.retiring.end() != nil:
		return false
	case l.successor != nil && l.successor.ended:
		l.exitWith(l.successor.Exit())
		return true
	case l.successor == nil && l.command.ended:
		l.exitWith(l.command.Exit())
		return true
	}
	return false
}

// bound sets a bound to a task that runs on while we stop and nothing lives any
// more that it could be about.
func (l *Life) bound() {
	if !l.stopping || l.leaves != nil || l.serving == nil && l.command.end() != nil {
		return
	}
	for _, g := range l.generations() {
		if !g.ended {
			return
		}
	}
	l.leaves = time.After(giveUpAfter)
}

// giveUpAfter is longer than a task takes to end what is left of a generation.
const giveUpAfter = endTimeout + 10*time.Second

// lose ends the life, though something does not.
func (l *Life) lose(reason string) {
	l.lost, l.code = true, ExitFailed
	l.log.Error("cannot stop in good order: leaving what is left to the kernel", "step", l.step.name, "reason", reason, "serving", 0, "code", l.code)
}

func (l *Life) exitWith(exit Exit) {
	l.code = exit.ExitCode()
	if !exit.Known() && l.stopping { // else the reason said so
		l.log.Error("stopped, but gunicorn's exit status could not be learned", "reason", exit, "serving", 0, "code", l.code)
	}
}

// serves says that another generation is the serving one from now on.
func (l *Life) serves(begun time.Time) {
	l.log.Info("serving", "generation", l.serving.number, "pid", l.serving.PID(),
		"workers", l.step.workers.All, "took", since(begun))
}

// servesNow is the field serving: the number of the generation that answers
// requests, which is the serving one or one that is about to inherit, or 0. While
// gunicorn stops it is left out.
func (l *Life) servesNow() slog.Attr {
	switch {
	case l.stopping && l.stopDelay == nil:
		return slog.Attr{}
	case l.serving != nil && !dead(l.serving):
		return slog.Int("serving", l.serving.number)
	case l.successor != nil && l.successor.ready && !dead(l.successor):
		return slog.Int("serving", l.successor.number)
	}
	return slog.Int("serving", 0)
}

// servingEnded says that the serving master is gone, and what comes of it. A
// handoff that ends of it says so itself.
func (l *Life) servingEnded() {
	attrs := []any{"generation", l.serving.number, "pid", l.serving.PID(), "reason", l.serving.Exit(), l.servesNow()}
	switch {
	case l.stopping:
	case l.successor != nil, l.startsAfresh():
		l.bequeath()
		l.log.Warn("the serving master has ended: its successor inherits as soon as it is ready", attrs...)
	case l.now == nil:
		text := "gunicorn's master has ended: nothing serves"
		if toldBySomebody(l.serving.Ended()) {
			text = "gunicorn was told to end by somebody else: nothing serves"
		}
		l.log.Error(text, append(attrs, toDo(adviseEnded(l.serving))...)...)
	}
}
