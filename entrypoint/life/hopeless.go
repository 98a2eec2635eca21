package life

import (
	"context"
	"fmt"
	"time"

	"github.com/stablehand/stablehand/entrypoint/status"
)

// A handoff whose successor comes up no more, or so slowly that it seems so, may go
// on until READY_TIMEOUT: it may get ready yet. But it is hopeless, and gives way as
// soon as another one is due, which may well be the one that mends it.

const (
	// hopelessAfter is how many times as long as the serving generation took to get
	// ready a successor may take before it is hopeless.
	hopelessAfter = 2

	// soonest is what no generation is taken to be quicker than. Beside the load of
	// the one that serves a start takes longer.
	soonest = 2 * time.Second

	// lastWords is how long gunicorn may take to end by itself of a worker that it has
	// lost, as it does where one could not load the application: its own end says more.
	lastWords = 3 * time.Second

	// starves is how many workers of what comes up the kernel may kill for want of memory
	// before it is given up, or of the generation that serves: gunicorn starts others, and
	// each takes what there is from that generation.
	starves = 2

	// lookForStarved is how often it is looked for those of the generation that serves.
	lookForStarved = 500 * time.Millisecond
)

// comesUp says whether a successor is coming up that the container does not need
// yet, and that may be rolled back for another one.
func (l *Life) comesUp() bool {
	return l.now != nil && !l.now.givenUp && !l.stopping && !dead(l.serving) &&
		(l.step.name == status.Spawn || l.step.name == status.Warm || l.step.name == status.Probe)
}

// givenUp fires when what comes up is to be given up, or a word is to be said of it.
func (l *Life) givenUp() <-chan time.Time {
	if l.cancel == nil || l.successor == nil && l.now == nil || l.stopping {
		return nil
	}
	at := l.step.endless
	if l.step.saidLost || l.step.name != status.Warm {
		at = time.Time{}
	}
	if way := l.givesWayAt(); at.IsZero() || !way.IsZero() && way.Before(at) {
		at = way
	}
	if at.IsZero() {
		return nil
	}
	return time.After(time.Until(at))
}

// givesWayAt is when the handoff under way is to give way to the next one; zero if
// it is not.
func (l *Life) givesWayAt() time.Time {
	if l.next == nil || !l.comesUp() {
		return time.Time{}
	}
	return later(l.hopelessAt(), l.next.when())
}

// hopelessAt is when the handoff under way is hopeless: after its patience, or since a
// worker was lost. Where one before it gave way, it may take longer.
func (l *Life) hopelessAt() time.Time {
	at := l.now.spawns.Add(l.patience())
	if lost := l.step.hopeless; !lost.IsZero() {
		at = earlier(at, later(lost, l.now.spawns.Add(hopelessAfter*l.tooShort)))
	}
	return at
}

func earlier(one, other time.Time) time.Time {
	if one.Before(other) {
		return one
	}
	return other
}

func later(one, other time.Time) time.Time {
	if one.After(other) {
		return one
	}
	return other
}

// patience is how long a successor may take before it is hopeless. Where nobody
// has seen the serving generation come up that is not known, and READY_TIMEOUT holds.
func (l *Life) patience() time.Duration {
	if !l.serving.ours {
		return hopelessAfter * l.settings.ReadyTimeout
	}
	return hopelessAfter * max(l.serving.took, soonest, l.tooShort)
}

// giveUp rolls the handoff under way back: for the next one, or since its successor
// has lost as many workers as it is to have and does not get ready any more, as far
// as can be told. Where nothing else serves that goes on, and is said once.
func (l *Life) giveUp() {
	way := l.givesWayAt()
	switch {
	case !way.IsZero() && !way.After(time.Now()):
		l.giveWay()
	case l.comesUp():
		l.now.givenUp = true
		l.cancel(lost{l.step.workers})
	case l.now == nil || !l.now.givenUp:
		l.sayLost()
	}
	l.step.saidLost = true
}

// giveWay rolls the handoff under way back for the next one, which may take twice as
// long: where all that comes up is slow, or loses a worker and gets ready all the same,
// one of them is to get there, even if there are always new changes.
func (l *Life) giveWay() {
	why := fmt.Sprintf("not ready after %v, and generation %d took %v", since(l.now.spawns), l.serving.number, l.serving.took.Round(time.Millisecond))
	if w := l.step.workers; w.Lost > 0 && l.step.name != status.Probe {
		why = lost{w}.Error()
	}
	if l.step.answers != "" {
		why += ": probe: " + l.step.answers
	}
	l.now.givenUp = true
	l.cancel(gaveWay{
		text:  fmt.Sprintf("hopeless, and gives way to the next handoff (%s): %s", l.next.why(), why),
		after: l.hopelessAt().Sub(l.now.spawns),
	})
}

// gaveWay is why a handoff was rolled back for the next one.
type gaveWay struct {
	text  string
	after time.Duration // that it was let take
}

func (g gaveWay) Error() string { return g.text }

// lose notes that what comes up has lost workers. Where one was lost that had taken
// another one's place, gunicorn does not end of it.
func (s *step) lose(w status.Workers) {
	now, most := time.Now(), max(s.most, 1)
	if w.Lost > 0 && s.hopeless.IsZero() {
		s.hopeless = now.Add(lastWords)
	}
	if (w.Lost >= most || w.OOMKilled >= starves) && s.endless.IsZero() {
		s.endless = now.Add(lastWords)
	}
	if (w.Lost > most || w.OOMKilled >= starves) && s.endless.After(now) {
		s.hopeless, s.endless = now, now
	}
}

func (l *Life) sayLost() {
	w := l.step.workers
	attrs := append([]any{"generation", l.successor.number, "pid", l.successor.PID()}, workersNow(w)...)
	l.log.Warn("workers end before they are ready: gunicorn starts others, until READY_TIMEOUT",
		append(attrs, "reason", w.Exits, "took", since(l.step.since), l.servesNow(), "do", advice(lost{w}, linesOf(l.successor)))...)
}

// lost is the error of having lost workers.
type lost struct{ workers status.Workers }

func (e lost) Error() string {
	text := "a worker was lost before it was ready"
	if e.workers.Lost > 1 {
		text = fmt.Sprintf("%d workers were lost before they were ready", e.workers.Lost)
	}
	if e.workers.Exits != "" {
		text += ": " + e.workers.Exits
	}
	return text
}

// Advice is what can be done about it.
func (lost) Advice(lines string) string { return "see " + lines }

// OutOfMemory says whether the kernel has killed one for want of memory.
func (e lost) OutOfMemory() bool { return e.workers.OOMKilled > 0 }

// starving is the error of a generation that serves, and has lost so many workers for want
// of memory beside its successor.
type starving struct{ killed int }

func (e starving) Error() string {
	return fmt.Sprintf("%d workers of the generation that serves were killed, out of memory", e.killed)
}

// OutOfMemory says that the kernel has killed for want of memory.
func (starving) OutOfMemory() bool { return true }

// starves returns an error when the kernel has killed as many workers of a generation that
// serves as it may, and none when that has ended or ctx has.
func (g *generation) starves(ctx context.Context) error {
	before := g.Workers().OOMKilled
	for {
		select {
		case <-time.After(lookForStarved):
		case <-g.Done():
			<-ctx.Done() // its successor is all that there is
			return nil
		case <-ctx.Done():
			return nil
		}
		if killed := g.Workers().OOMKilled - before; killed >= starves && !dead(g) {
			return starving{killed}
		}
	}
}
