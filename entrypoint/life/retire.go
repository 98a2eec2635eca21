package life

import (
	"context"
	"fmt"
	"time"

	"github.com/stablehand/stablehand/entrypoint/status"
)

const (
	// retireTimeout is how long an old generation may take to finish. gunicorn
	// itself kills its workers after its graceful_timeout, which may be long on
	// purpose; so this is only for a master that hangs.
	retireTimeout = time.Hour

	// SpentFor is how long an old master may live on when nothing is left that it
	// could finish, as where a thread keeps Python from ending.
	SpentFor = 5 * time.Second

	// noteEvery is how often an old generation that finishes is looked at, for what
	// it starts meanwhile and leaves behind.
	noteEvery = time.Second

	// promoteTimeout is how long a master may take to see that its parent has
	// gone, which it looks for once a second. It serves all the while.
	promoteTimeout = 10 * time.Second
)

// seeOff has the old generation retire, and waits until its successor has been
// promoted, where there is a promotion.
func (l *Life) seeOff(ctx context.Context, old, next *generation) error {
	if err := l.retire(old, next, next.Done()); err != nil {
		return err
	}
	l.did("retired", old)
	if next.Listener() != nil {
		return nil // it was begun afresh, and has no parent
	}

	l.enter(status.Promote)
	promoting, cancel := context.WithTimeout(ctx, promoteTimeout)
	defer cancel()
	err := next.Promoted(promoting)
	if ctx.Err() != nil {
		return nil // it was all but promoted when the stop came
	}
	if dead(next) {
		return err
	}
	if err == nil {
		l.did("promoted", next)
	}
	return nil
}

// retire has the old generation finish what it holds and end, and sees to it
// that nothing is left of it. Where lost is closed meanwhile, since the successor has
// ended, it gives up.
func (l *Life) retire(old, next *generation, lost <-chan struct{}) error {
	old.Note()
	ctx, cancel := context.WithTimeout(context.Background(), retireTimeout)
	defer cancel()
	old.told.Store(true)
	go l.finish(ctx, old)
	begun, spent := time.Now(), time.Time{}
	for !dead(old) && ctx.Err() == nil && (spent.IsZero() || time.Since(spent) < SpentFor) {
		select {
		case <-old.Done():
		case <-ctx.Done():
		case <-time.After(noteEvery):
			old.Note()
			if !old.Spent() {
				spent = time.Time{}
			} else if spent.IsZero() {
				spent = time.Now()
			}
		case <-lost:
			lost = nil
			if !l.told() {
				return fmt.Errorf("the successor ended while the old generation retired: %w", next.Ended())
			}
		}
	}
	if !dead(old) {
		l.note(func() { l.sayKills(old, since(begun), !spent.IsZero()) })
	}
	ctx, cancel = context.WithTimeout(context.Background(), endTimeout)
	defer cancel()
	if err := old.Clear(ctx, leaveGrace); err != nil {
		l.note(func() {
			l.log.Error("cannot end the old generation", "generation", old.number, "pid", old.PID(), "reason", err, l.servesNow())
		})
	}
	l.note(func() { l.retiring = nil })
	return nil
}

// finish has a generation finish and end, as long as ctx allows.
func (l *Life) finish(ctx context.Context, g *generation) {
	if err := g.Finish(ctx); err != nil {
		l.unsent(TERM, g, err)
	}
}

// Spent is why an old master is killed that holds nothing any more.
const Spent = "its master has no workers and no sockets any more, and goes on"

// WhenSpent is what to do about that, as attributes of a line of the log.
func WhenSpent() []any {
	return toDo("look for a thread that the configuration or the preloaded application starts: Python waits for each that is no daemon")
}

// sayKills says that an old generation has to be killed.
func (l *Life) sayKills(old *generation, took time.Duration, spent bool) {
	attrs := []any{"generation", old.number, "pid", old.PID()}
	if spent {
		attrs = append(attrs, "reason", Spent)
	}
	attrs = append(attrs, "took", took, l.servesNow())
	if spent {
		attrs = append(attrs, WhenSpent()...)
	}
	l.log.Warn("the old generation does not end: killing it", attrs...)
}
