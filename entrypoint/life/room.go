package life

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/stablehand/stablehand/entrypoint/status"
)

// During a handoff there are two generations. Where the container's memory is not enough
// for both the kernel kills somebody in it, or all of it, the serving generation too: so
// it is looked at before anything is begun. What a successor is going to need nobody
// knows; the best guess is what the serving generation takes now.

// Room is what is done where there is no memory for a second generation (MEMORY).
type Room string

// With Warn it is said, and the handoff goes on. With Wait it waits for room, and with
// Shrink it has the serving generation do with fewer workers meanwhile, one at least.
const (
	Off    Room = "off"
	Warn   Room = "warn"
	Wait   Room = "wait"
	Shrink Room = "shrink"
)

const (
	// lookForRoom is the pause between two looks at what memory there is.
	lookForRoom = time.Second

	// lookForWorker is the same, at whether a worker has come or gone.
	lookForWorker = 50 * time.Millisecond

	// smallFor is how long a generation is left with one worker to see whether that makes
	// room. What has to come from elsewhere comes as well for the next try.
	smallFor = 5 * time.Second

	// forksIn is how long a master may take for a worker that it is to have again,
	// until the next is asked for: two signals at once may count as one, and gunicorn 20
	// keeps no more than five.
	forksIn = 2 * time.Second
)

// errNoRoom is why a handoff is rolled back for which there was no memory in time.
var errNoRoom = errors.New("no room")

// noRoom is that with the figures.
type noRoom struct {
	status.Memory
	limit time.Duration // for which it was waited; 0 where fewer workers were of no use
	room  Room          // what was done about it
}

func (n noRoom) Error() string {
	if n.limit == 0 {
		return fmt.Sprintf("%v: %s free, %s needed, by %s, with one worker left of the old generation", errNoRoom, size(n.Free), needed(n.Memory), n.Limit)
	}
	return fmt.Sprintf("%v: %s free, %s needed, by %s, for %v (READY_TIMEOUT)", errNoRoom, size(n.Free), needed(n.Memory), n.Limit, n.limit)
}

func (noRoom) Unwrap() error { return errNoRoom }

// Advice is what can be done about it.
func (n noRoom) Advice(string) string {
	if n.room == Shrink {
		return moreMemory
	}
	return moreMemory + "; STABLEHAND_MEMORY=shrink takes workers of the old generation down meanwhile"
}

// guessed is why nothing is made of figures that are too high: what processes share counts
// for each of them.
type guessed struct{ status.Memory }

func (g guessed) Error() string {
	return fmt.Sprintf("what gunicorn's processes share cannot be looked at, so that they take %s at the most; %s free, by %s", size(g.Takes), size(g.Free), g.Limit)
}

// moreMemory is what can be done where two generations need more memory than there is,
// and whenKilled where the kernel kills for that, or may.
const (
	moreMemory = "give the container more memory, or gunicorn fewer workers"
	whenKilled = moreMemory + "; with STABLEHAND_MEMORY=wait or shrink a handoff begins only where there is room for another generation"
)

// size is a number of bytes, for a log.
func size(bytes int64) string { return fmt.Sprintf("%dMiB", (bytes+1<<19)>>20) }

// needed is what a second generation needs, for a log.
func needed(m status.Memory) string {
	if m.Guessed {
		return size(m.Needed) + " at most"
	}
	return size(m.Needed)
}

// memoryNow are the fields for what memory there is.
func memoryNow(m status.Memory) []any {
	return []any{"free", size(m.Free), "needed", needed(m), "limit", m.Limit}
}

// makeRoom sees to it that there is memory for a successor, or says that there is not. It
// returns how many workers the old generation has given up for it. The error is a
// rolledBack. Where a successor is there already, which somebody else has asked for, and
// where the old generation has ended, nothing is to be gained by waiting.
func (l *Life) makeRoom(ctx context.Context, old *generation) (taken int, err error) {
	if l.world.Memory == nil || old.Successor() != nil {
		return 0, nil
	}
	now, err := l.lookAtMemory(ctx, old)
	switch {
	case ctx.Err() != nil:
		return 0, rolledBack{context.Cause(ctx)}
	case err != nil:
		l.note(func() { l.sayNoFigures(err) })
		return 0, nil
	case now.Enough() || dead(old):
		return 0, nil
	case now.Guessed:
		l.note(func() { l.sayNoFigures(guessed{now}) })
		return 0, nil
	}
	if l.settings.Room == Warn {
		l.note(func() {
			l.log.Warn("no room in memory for two generations: the kernel may kill either, or the container", l.aboutRoom(now, whenKilled)...)
		})
		return 0, nil
	}
	if taken, err = l.awaitRoom(ctx, old, now); err != nil {
		return taken, rolledBack{err}
	}
	l.note(l.spawnsNow)
	return taken, nil
}

// spawnsNow notes that the handoff goes on, now that there is room. What has happened
// meanwhile has nothing to do with the successor, which is begun only now.
func (l *Life) spawnsNow() {
	l.enters(status.Spawn)
	l.now.spawns, l.now.before, l.now.disk = time.Now(), l.moves(), l.disk
	l.recurs.began, l.recurs.ready = l.now.spawns, time.Time{}
}

// lookAtMemory takes the first look at it. A generation whose workers are just being
// given back will need as much again as it has before.
func (l *Life) lookAtMemory(ctx context.Context, old *generation) (now status.Memory, err error) {
	now, err = l.world.Memory.Cost(ctx, old.Generation)
	if err != nil {
		return now, err
	}
	if l.regains(old) > old.Workers().Ready {
		now.Needed = max(now.Needed, old.costs)
	}
	left, err := l.world.Memory.Room(ctx, old.Generation)
	now.Free, now.Limit = left.Free, left.Limit
	return now, err
}

// aboutRoom are the fields of a line about what memory there is.
func (l *Life) aboutRoom(now status.Memory, do string) []any {
	return append(append(append([]any{"generation", l.now.Generation}, memoryNow(now)...), l.servesNow()), toDo(do)...)
}

// sayNoFigures says once why nobody knows whether there is room.
func (l *Life) sayNoFigures(err error) {
	if l.unmeasured {
		return
	}
	l.unmeasured = true
	l.log.Warn("cannot tell whether there is memory for two generations: handing over all the same",
		"generation", l.now.Generation, "reason", reasons(err), l.servesNow())
}

// awaitRoom waits until there is room, for READY_TIMEOUT, the old generation has ended, or
// ctx has.
func (l *Life) awaitRoom(ctx context.Context, old *generation, now status.Memory) (taken int, err error) {
	limit := l.settings.ReadyTimeout
	waiting, cancel := context.WithTimeoutCause(ctx, limit, errNoRoom)
	defer cancel()
	all := old.Workers().All
	l.note(func() {
		l.needsRoom(now)
		all = min(all, old.wants) // of those that are there some may be about to leave
	})
	old.whole, old.costs = all, now.Needed
	leaving, there := false, 0
	var small time.Time // since when it has done with one worker
	for looked := time.Now(); ; {
		select {
		case <-time.After(l.roomPace()):
		case <-old.Done():
			return taken, nil
		case <-waiting.Done():
			if err := context.Cause(waiting); !errors.Is(err, errNoRoom) {
				return taken, err
			}
			return taken, noRoom{now, limit, l.settings.Room}
		}
		// Not before a pause: a signal that was kept until now is on its way.
		if l.settings.Room == Shrink && !leaving && all > 1 {
			there = old.Workers().All
			if err := l.takeDown(waiting, old); err == nil {
				taken, all, leaving = taken+1, all-1, true
			}
		}
		left := leaving && old.Workers().All < there // and what it had is free
		if !left && time.Since(looked) < lookForRoom {
			continue
		}
		leaving, looked = leaving && !left, time.Now()
		if read, err := l.world.Memory.Room(waiting, old.Generation); err == nil {
			now.Free, now.Limit = read.Free, read.Limit
		}
		l.note(func() { l.hasRoom(now) })
		if now.Enough() {
			return taken, nil
		}
		switch {
		case taken == 0 || leaving || all > 1:
		case small.IsZero():
			small = time.Now()
		case time.Since(small) >= smallFor:
			return taken, noRoom{Memory: now, room: l.settings.Room}
		}
	}
}

// roomPace is the pause between two looks at whether anything has changed.
func (l *Life) roomPace() time.Duration {
	if l.settings.Room == Shrink {
		return lookForWorker
	}
	return lookForRoom
}

// needsRoom notes that the handoff waits for room.
func (l *Life) needsRoom(now status.Memory) {
	l.enters(status.Room)
	l.recurs.ends()
	l.now.Memory = &now
	l.tellFollowers()
	text := "no room in memory for two generations: waiting for it"
	if l.settings.Room == Shrink {
		text = "no room in memory for two generations: taking workers of the old one down"
	}
	l.log.Warn(text, l.aboutRoom(now, "")...)
}

// hasRoom notes what memory there is by now.
func (l *Life) hasRoom(now status.Memory) {
	l.now.Memory = &now
	l.tellFollowers()
	if !now.Enough() {
		return
	}
	took := since(l.step.since)
	l.log.Info("room made", append(append([]any{"generation", l.now.Generation}, memoryNow(now)...), "took", took, l.servesNow())...)
	l.now.Steps = append(l.now.Steps, status.Done{Step: status.Room, Took: seconds(took)})
	l.counts.steps[status.Room].Observe(seconds(took))
}

// takeDown has the old generation do with one worker less.
func (l *Life) takeDown(ctx context.Context, old *generation) error {
	l.note(func() { l.now.Taken++ }) // from now on who else resizes it waits
	err := old.Less(ctx)
	l.note(func() {
		if err != nil {
			l.now.Taken--
			return
		}
		l.log.Info("worker taken down", "generation", old.number, "pid", old.PID(), "taken", l.now.Taken, l.servesNow())
	})
	return err
}

// giveBack has the old generation have the workers again that it has given up for a
// successor that did not come to serve. It is for a task, and ends early where all is
// about to end. One that has not left yet keeps the place of the one to come.
func (l *Life) giveBack(old *generation, taken int) {
	old.regains = time.Now()
	for range taken {
		l.giveOne(old)
		if l.ends(old) {
			return
		}
	}
	workers := old.Workers().All
	l.note(func() {
		attrs := []any{"generation", old.number, "pid", old.PID(), "workers", workers, "taken", taken, l.servesNow()}
		if workers < old.whole {
			l.log.Warn("not all workers that were taken down are there again yet", append(attrs, toDo(
				fmt.Sprintf("if they do not come, see why gunicorn forks none, and send TTIN to process %d for each", old.PID()))...)...)
			return
		}
		l.log.Info("workers given back", attrs...)
	})
}

// giveOne has the old generation have one worker more, and waits a while until it is
// there.
func (l *Life) giveOne(old *generation) {
	ctx, cancel := context.WithTimeout(context.Background(), forksIn)
	defer cancel()
	all := old.Workers().All
	if err := old.More(ctx); err != nil {
		return // the last word says what is missing
	}
	for ctx.Err() == nil && !l.ends(old) {
		time.Sleep(lookForWorker)
		if now := old.Workers().All; now > all || now >= old.whole {
			return
		}
	}
}

// regains is how many workers a generation is to have again that has just given some up
// and got them back; 0 where it has not.
func (l *Life) regains(g *generation) int {
	if time.Since(g.regains) > l.settings.ReadyTimeout {
		return 0
	}
	return g.whole
}

// ends says, for a task, whether a generation has ended or is told to.
func (l *Life) ends(g *generation) (ends bool) {
	l.note(func() { ends = dead(g) || l.stopping && l.stopDelay == nil })
	return ends
}
