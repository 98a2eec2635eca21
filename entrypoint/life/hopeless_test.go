package life_test

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stablehand/stablehand/entrypoint/life"
	"github.com/stablehand/stablehand/entrypoint/status"
)

// lived is a life that a test has things happen to, one after the other. Each
// generation loads for 2 s, unless a test says something else, and answers then.
type lived struct {
	*world
	life    *life.Life
	signals chan life.Signal
	changes chan life.Change
	content byte
}

// inLife has a test live through a life, whose story it is told where it fails; in a world
// in which something is special, if it is said.
func inLife(t *testing.T, test func(t *testing.T, l *lived), special ...func(*world)) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(1)
		w.settings = life.Settings{ReadyTimeout: 2 * time.Minute, Watched: true, Retry: time.Hour}
		w.looking, w.unknown = time.Millisecond, false
		w.fate = &fate{load: 2 * time.Second, finish: time.Second, promotion: time.Second, workers: 2}
		w.command = &command{process: process{w: w, pid: 999, done: make(chan struct{})}, named: true, itself: true}
		signals, changes, ended := make(chan life.Signal), make(chan life.Change), make(chan int, 1)
		w.tells = changes
		for _, is := range special {
			is(w)
		}
		stands := life.World{Log: slog.New(w), Teller: w, Host: w, Disk: w}
		if w.apart {
			stands.Starter = w
		}
		l := life.New(w.settings, stands, life.Content{1})
		go func() {
			time.Sleep(time.Nanosecond) // until the test waits for the first time: what it says before is so from the beginning
			ended <- l.Run(w.command, nil, signals, changes)
		}()
		test(t, &lived{w, l, signals, changes, 1})
		w.end(signals, ended)
		close(w.over)
		if t.Failed() || len(w.faults) > 0 {
			t.Errorf("%s\n%s", strings.Join(w.faults, "; "), strings.Join(w.story, "\n"))
		}
	})
}

// changes a path.
func (l *lived) change(path string) {
	l.request("a change of " + path)
	l.content++
	c := life.Change{Paths: []string{path}, Content: life.Content{l.content}, Since: time.Now()}
	l.world.changes(c)
	l.changes <- c
	synctest.Wait()
}

// save has one file of a path hold something else; add has a new one there.
func (l *lived) save(path, file string) { l.write(path, life.Written{Path: file}) }
func (l *lived) add(path, file string) {
	l.write(path, life.Written{Path: file, Came: time.Now(), In: path})
}

func (l *lived) write(path string, file life.Written) {
	l.request("a change of " + file.Path)
	l.content++
	c := life.Change{Paths: []string{path}, Content: life.Content{l.content}, Since: time.Now()}
	l.world.changes(c)
	l.Lock()
	l.wrote = []life.Written{file}
	l.Unlock()
	l.changes <- c
	synctest.Wait()
}

// nth is one of the generations.
func (l *lived) nth(n int) *generation {
	l.Lock()
	defer l.Unlock()
	return l.generations[n]
}

// said is how many lines of the log have some text in them.
func (l *lived) said(text string) (n int) {
	l.Lock()
	defer l.Unlock()
	for _, line := range l.story {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}

// next has the generations to come have another fate.
func (l *lived) next(change func(*fate)) {
	l.Lock()
	defer l.Unlock()
	other := *l.fate
	change(&other)
	l.fate = &other
}

func TestAHandoffThatHangsGivesWay(t *testing.T) {
	inLife(t, func(t *testing.T, l *lived) {
		time.Sleep(10 * time.Second)
		l.next(func(f *fate) { f.never = true })
		l.change("a")
		time.Sleep(time.Second)
		l.next(func(f *fate) { f.never = false })
		time.Sleep(2 * time.Second)
		l.change("a") // generation 1 took 2 s
		if l.said("rolled back") > 0 {
			t.Error("it gives way before it is hopeless")
		}
		time.Sleep(2 * time.Second)
		if l.said("hopeless, and gives way to the next handoff (content changed): not ready after 4") != 1 || l.said("INFO handoff generation=3") != 1 {
			t.Error("it does not give way")
		}
		time.Sleep(5 * time.Second)
		if l.said("handed off generation=3") != 1 {
			t.Error("the mend does not serve")
		}
	})
}

func TestWhoFollowsAHopelessHandoffIsToldThatItGaveWay(t *testing.T) {
	inLife(t, func(t *testing.T, l *lived) {
		time.Sleep(10 * time.Second)
		l.next(func(f *fate) { f.dying, f.workers = true, 20 })
		l.request("reload")
		told, err := l.life.Reload(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(1500 * time.Millisecond) // one of its workers is lost
		l.next(func(f *fate) { f.dying = false })
		l.change("a")
		var last status.Handoff
		for h := range told {
			last = h
		}
		synctest.Wait()
		if last.Outcome != status.RolledBack || !strings.Contains(last.Failure, "gives way to the next handoff (content changed): 3 workers were lost") {
			t.Errorf("told: %+v", last)
		}
		if l.said("INFO handoff generation=3") != 1 {
			t.Error("the next one does not begin at once")
		}
		time.Sleep(10 * time.Second)
	})
}

// Where everything that comes up has become slow, new changes without end keep none
// from getting ready.
func TestEndlessChangesDoNotStarveSlowGenerations(t *testing.T) {
	inLife(t, func(t *testing.T, l *lived) {
		time.Sleep(10 * time.Second)
		l.next(func(f *fate) { f.load = 20 * time.Second })
		for range 60 {
			l.change("a")
			time.Sleep(2 * time.Second)
		}
		if n := l.said("handed off"); n < 2 {
			t.Errorf("%d handed off in 2 minutes", n)
		}
	})
}

// One worker of each is lost, and another takes its place.
func TestEndlessOrdersDoNotStarveGenerationsThatLoseAWorker(t *testing.T) {
	inLife(t, func(t *testing.T, l *lived) {
		time.Sleep(10 * time.Second)
		l.next(func(f *fate) { f.load, f.drops, f.workers = 10*time.Second, 1, 4 })
		for range 30 {
			l.request("HUP")
			l.signals <- life.HUP
			time.Sleep(3 * time.Second)
		}
		if l.said("handed off") == 0 {
			t.Error("none of them has got ready")
		}
	})
}

func TestASuccessorWhoseWorkersAllEndIsRolledBackAtOnce(t *testing.T) {
	inLife(t, func(t *testing.T, l *lived) {
		time.Sleep(10 * time.Second)
		l.next(func(f *fate) { f.dying = true })
		l.change("a")
		time.Sleep(5 * time.Second)
		if l.said(` workers were lost before they were ready: exit code 1`) != 1 {
			t.Error("it is not")
		}
	})
}

// Each worker that gunicorn starts anew takes memory from the generation that serves.
func TestASuccessorThatIsShortOfMemoryIsRolledBackAtOnce(t *testing.T) {
	inLife(t, func(t *testing.T, l *lived) {
		time.Sleep(10 * time.Second)
		l.next(func(f *fate) { f.workers, f.drops, f.starves = 6, 6, true })
		l.change("a")
		time.Sleep(3500 * time.Millisecond)
		if l.said(`2 workers were lost before they were ready: killed by SIGKILL, out of memory`) != 1 {
			t.Error("it is not")
		}
	})
}

// The successor may keep its workers while those of the generation that serves are killed.
func TestASuccessorBesideWhichTheOldGenerationStarvesIsRolledBackAtOnce(t *testing.T) {
	inLife(t, func(t *testing.T, l *lived) {
		time.Sleep(10 * time.Second)
		l.next(func(f *fate) { f.never = true })
		l.change("a")
		time.Sleep(time.Second)
		l.nth(0).kill(1)
		time.Sleep(time.Second)
		if l.said("rolled back") > 0 {
			t.Error("it is for one worker, too")
		}
		l.nth(0).kill(1)
		time.Sleep(time.Second)
		if l.said(`rolled back generation=2 step=warm reason=2 workers of the generation that serves were killed, out of memory`) != 1 {
			t.Error("it is not")
		}
	})
}

// kill has the kernel kill workers for want of memory.
func (g *generation) kill(n int) {
	g.w.Lock()
	defer g.w.Unlock()
	g.killed += n
}

func TestWorkersThatAllEndInBootAreSaidOnceAndBootGoesOn(t *testing.T) {
	inLife(t, func(t *testing.T, l *lived) {
		l.next(func(f *fate) { f.dying = true })
		time.Sleep(time.Minute)
		if n := l.said("WARN workers end before they are ready: gunicorn starts others, until READY_TIMEOUT generation=1 pid=999 workers=2 ready=0 lost="); n != 1 {
			t.Errorf("said %d times, want once", n)
		}
		time.Sleep(2 * time.Minute)
		if l.said("gunicorn did not get ready: nothing serves") != 1 {
			t.Error("READY_TIMEOUT does not hold")
		}
		l.stop() // it has ended by itself
	})
}

func TestAnEndInGoodOrderThatNobodyAskedForIsAFailure(t *testing.T) {
	inLife(t, func(t *testing.T, l *lived) {
		time.Sleep(10 * time.Second)
		l.change("a")
		time.Sleep(time.Second)
		l.strike(l.nth(1), exit{})
		time.Sleep(time.Second)
		if l.said("ERROR rolled back generation=2 step=warm reason=exit code 0, unknown: false: told to end by somebody else") != 1 {
			t.Error("of a successor that is not said")
		}
		l.strike(l.nth(0), exit{})
		time.Sleep(10 * time.Second)
		if l.said("ERROR gunicorn was told to end by somebody else: nothing serves generation=1 pid=999") != 1 {
			t.Error("that is not said")
		}
	})
}

// spawned is when generations were, in seconds.
func (l *lived) spawned() (at []int) {
	l.Lock()
	defer l.Unlock()
	for _, g := range l.generations {
		at = append(at, int(g.begun.Sub(l.begun).Seconds()))
	}
	return at
}

func TestGenerationsThatWriteWhatIsWatchedFollowEverMoreSeldom(t *testing.T) {
	inLife(t, func(t *testing.T, l *lived) {
		l.next(func(f *fate) { f.writes = true })
		time.Sleep(25 * time.Second)
		if at := l.spawned(); len(at) > 4 {
			t.Errorf("generations at %v s", at)
		}
		time.Sleep(time.Hour)
		at := l.spawned()
		if last := at[len(at)-1] - at[len(at)-2]; last < 300 || len(at) > 20 {
			t.Errorf("generations at %v s", at)
		}
		if n := l.said("WARN what is watched changes whenever a generation comes up: it is handed over ever more seldom paths=own reason=written last: own/file retry=10s serving="); n != 1 {
			t.Errorf("said %d times, want once", n)
		}
		before := len(at)
		l.change("another")
		time.Sleep(20 * time.Second)
		if at = l.spawned(); len(at) != before+2 {
			t.Errorf("after a change of another path generations at %v s", at[before:])
		}
		time.Sleep(time.Minute)
	})
}

// A name that is new each time is seen to recur by where it is.
func TestGenerationsThatWriteNewNamesFollowEverMoreSeldom(t *testing.T) {
	inLife(t, func(t *testing.T, l *lived) {
		l.next(func(f *fate) { f.writes, f.names = true, true })
		time.Sleep(time.Hour)
		at := l.spawned()
		if last := at[len(at)-1] - at[len(at)-2]; last < 300 || len(at) > 25 {
			t.Errorf("generations at %v s", at)
		}
		if l.said("WARN what is watched changes whenever a generation comes up: it is handed over ever more seldom paths=own reason=written last: own/file_10") != 1 {
			t.Error("it is not said once")
		}
		before := len(at)
		l.change("another")
		time.Sleep(20 * time.Second)
		if at = l.spawned(); len(at) != before+2 {
			t.Errorf("after a change of another path generations at %v s", at[before:])
		}
		time.Sleep(time.Minute)
	})
}

// Neither of two files that each generation writes has the handoffs for the other
// begin to wait anew.
func TestGenerationsThatWriteTwiceFollowEverMoreSeldom(t *testing.T) {
	inLife(t, func(t *testing.T, l *lived) {
		l.next(func(f *fate) { f.writes, f.names, f.twice = true, true, true })
		time.Sleep(time.Hour)
		at := l.spawned()
		if last := at[len(at)-1] - at[len(at)-2]; last < 300 || len(at) > 30 {
			t.Errorf("generations at %v s", at)
		}
		if n := l.said("retry=0s"); n > 0 {
			t.Errorf("%d times it is said to wait, and does not", n)
		}
	})
}

// Who saves now one file and now another, each while a generation comes up or right
// after, does not wait.
func TestSavesOfTwoFilesInTurnDoNotWait(t *testing.T) {
	for name, after := range map[string]time.Duration{"as it loads": time.Second, "when it is ready": 2500 * time.Millisecond, "right after": 4500 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			inLife(t, func(t *testing.T, l *lived) {
				time.Sleep(3 * time.Second)
				for n := range 20 {
					l.save("watched", []string{"watched/app.py", "watched/views.py"}[n%2])
					for began := time.Now(); l.said("INFO handoff generation=") <= n && time.Since(began) < time.Minute; {
						time.Sleep(10 * time.Millisecond)
					}
					if at := l.spawned(); l.said("INFO handoff generation=") != n+1 {
						t.Fatalf("generations at %v s after %d saves", at, n+1)
					}
					time.Sleep(after)
				}
				if l.said("ever more seldom")+l.said("waiting before the handoff") > 0 {
					t.Error("they are taken for what generations write")
				}
				time.Sleep(20 * time.Second)
			})
		})
	}
}

// Somebody who adds a file while a generation comes up does so a few times.
func TestFilesThatAreAddedOneByOneDoNotWait(t *testing.T) {
	inLife(t, func(t *testing.T, l *lived) {
		time.Sleep(3 * time.Second)
		for n := range 5 {
			l.add("watched", fmt.Sprintf("watched/%d.py", n))
			time.Sleep(4500 * time.Millisecond) // 0.5 s after it is handed off
		}
		if got := l.said("INFO handoff generation="); got != 5 {
			t.Errorf("%d handoffs after 5 changes", got)
		}
	})
}

// Whoever waits for each generation, and then changes something, does not wait.
func TestChangesRightAfterAGenerationAreSomebodysForLong(t *testing.T) {
	inLife(t, func(t *testing.T, l *lived) {
		time.Sleep(3 * time.Second)
		for n := range 5 {
			l.change("a")
			if got := l.said("INFO handoff generation="); got != n+1 {
				t.Errorf("%d handoffs after %d changes", got, n+1)
			}
			time.Sleep(5 * time.Second) // 1 s after it is handed off
		}
		l.change("a")
		if l.said("WARN what is watched changes whenever a generation comes up") != 1 {
			t.Error("it is not said")
		}
	})
}

// Changes that fall together with generations, and come at other times too, wait
// only as long as it takes to see that.
func TestChangesOfSomebodyElseAreHandedOverAtOnce(t *testing.T) {
	inLife(t, func(t *testing.T, l *lived) {
		time.Sleep(20 * time.Second)
		for n := range 5 {
			l.change("a")
			synctest.Wait()
			if got := l.said("INFO handoff generation="); got != n+1 {
				t.Errorf("%d handoffs after %d changes", got, n+1)
			}
			time.Sleep(20 * time.Second)
		}
	})
}

func TestContentThatMovesWhileItIsReadIsReadOnceMore(t *testing.T) {
	inLife(t, func(t *testing.T, l *lived) {
		time.Sleep(10 * time.Second)
		l.inSync(t, true)
		l.change("a")
		time.Sleep(time.Second)
		l.flaps()
		l.inSync(t, false)
		time.Sleep(20 * time.Second)
		if l.said("handed off generation=3") != 1 || l.said("INFO handoff") != 2 {
			t.Error("it is not handed over once more, or more than once")
		}
		l.inSync(t, true)
	})
}

func TestContentThatMovesWithEachGenerationIsNotReadForEver(t *testing.T) {
	inLife(t, func(t *testing.T, l *lived) {
		for range 100 {
			time.Sleep(1200 * time.Millisecond)
			l.flaps()
		}
		time.Sleep(10 * time.Second)
		if n := l.said("INFO handoff generation="); n != 2 {
			t.Errorf("%d handoffs", n)
		}
		if n := l.said("WARN what is watched is written whenever a generation comes up, and is then what it was: nobody knows what was read"); n != 1 {
			t.Errorf("said %d times", n)
		}
		if s, _ := l.life.Status(t.Context()); s.InSync != nil {
			t.Errorf("in_sync is said to be %v", *s.InSync)
		}
	})
}

func TestALookThatTakesLongHoldsNoHandoffUp(t *testing.T) {
	inLife(t, func(t *testing.T, l *lived) {
		time.Sleep(10 * time.Second)
		l.Lock()
		l.looking = time.Hour
		l.Unlock()
		l.change("a")
		time.Sleep(5 * time.Second)
		if l.said("handed off generation=2") != 1 {
			t.Error("it is held up")
		}
		if s, _ := l.life.Status(t.Context()); s.InSync != nil {
			t.Errorf("in_sync is said to be %v", *s.InSync)
		}
		time.Sleep(2 * time.Hour)
		l.inSync(t, true)
	})
}

// inSync checks what is said of what serves.
func (l *lived) inSync(t *testing.T, want bool) {
	t.Helper()
	s, err := l.life.Status(t.Context())
	if err != nil || s.InSync == nil || *s.InSync != want {
		t.Errorf("in_sync: %v, want %v (%v)", shown(s.InSync), want, err)
	}
}

func shown(in *bool) string {
	if in == nil {
		return "not known"
	}
	return fmt.Sprint(*in)
}
