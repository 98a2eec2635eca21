package life

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"
)

// restless is what is watched, and comes to rest after some time.
type restless struct {
	Disk
	rests time.Duration
	holds Content // then
}

func (r restless) Moves() uint64 { return 1 }

func (r restless) Rest(ctx context.Context) (Content, uint64, error) {
	select {
	case <-time.After(r.rests):
		return r.holds, 1, nil
	case <-ctx.Done():
		return Content{}, 0, errors.New("not at rest")
	}
}

// tellsAfter is how long after it has come to rest a change is told.
const tellsAfter = time.Millisecond

// asked is a life that serves, and of which a handoff is asked for while what is watched
// is as it is; and how long that waits.
func asked(t *testing.T, r restless) (l *Life, waited time.Duration) {
	t.Helper()
	l = New(Settings{Watched: true}, World{Log: slog.New(slog.DiscardHandler), Teller: deaf{}, Disk: r}, Content{})
	l.serving = newGeneration(still{}, 1)
	living, over := context.WithCancel(t.Context())
	defer over()
	defer close(l.ended)
	l.living = living
	var told <-chan time.Time
	if r.holds != l.disk {
		told = time.After(r.rests + tellsAfter)
	}
	begun := time.Now()
	l.order(HUP)
	for {
		select {
		case note := <-l.notes:
			note()
		case <-told:
			l.changed(Change{Paths: []string{"a"}, Content: r.holds})
		case <-l.due():
			return l, time.Since(begun)
		}
	}
}

func TestAHandoffThatIsAskedForWaitsForWhatIsBeingEdited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const rests = 500 * time.Millisecond
		l, waited := asked(t, restless{rests: rests, holds: Content{1}})
		if waited != rests+tellsAfter || l.disk != (Content{1}) {
			t.Errorf("it waited %v, and %x is known; want %v and the change", waited, l.disk[:1], rests+tellsAfter)
		}
	})
}

func TestAHandoffThatIsAskedForComesAtOnceWhereNothingIsEdited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		if _, waited := asked(t, restless{}); waited != 0 {
			t.Errorf("it waited %v", waited)
		}
	})
}

func TestWhatNeverRestsHoldsNoHandoffUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		if _, waited := asked(t, restless{rests: time.Hour, holds: Content{1}}); waited != settlePatience {
			t.Errorf("it waited %v, want %v", waited, settlePatience)
		}
	})
}

func TestAChangeWaitsForNothingThatSomebodyHasAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, _ := asked(t, restless{rests: time.Hour, holds: Content{1}})
		l.next = nil // it begins
		l.changed(change(2))
		begun := time.Now()
		<-l.due()
		if waited := time.Since(begun); waited != 0 {
			t.Errorf("the change waited %v", waited)
		}
	})
}
