package entrypoint

import (
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stablehand/stablehand/entrypoint/control"
	"github.com/stablehand/stablehand/entrypoint/gunicorn"
	"github.com/stablehand/stablehand/entrypoint/watch"
)

// servingLoop is a loop that serves and has no task.
func servingLoop(c Config) *loop {
	l := newLoop(c, nil, slog.New(slog.DiscardHandler))
	l.serving = &generation{Master: &gunicorn.Master{}, number: 1}
	l.now = &handing{} // the one that has failed last
	return l
}

func TestRetryDoublesUpToFiveMinutes(t *testing.T) {
	l := servingLoop(Config{Retry: 10 * time.Second})
	for _, want := range []time.Duration{10, 20, 40, 80, 160, 300, 300} {
		if got, _ := l.retry(); got != want*time.Second {
			t.Errorf("pause %v, want %v", got, want*time.Second)
		}
		l.wanted = nil // as when it begins
	}
}

func TestRetryLongerThanTheMaximumStays(t *testing.T) {
	l := servingLoop(Config{Retry: time.Hour})
	for range 2 {
		if got, _ := l.retry(); got != time.Hour {
			t.Errorf("pause %v, want 1h", got)
		}
		l.wanted = nil
	}
}

func TestRetryZeroIsNever(t *testing.T) {
	l := servingLoop(Config{})
	if got, _ := l.retry(); got != 0 || l.wanted != nil {
		t.Errorf("pause %v, wanted %v, want neither", got, l.wanted)
	}
}

func TestNewChangeStartsAfresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := servingLoop(Config{Retry: 10 * time.Second})
		l.retry()
		l.wanted = nil
		l.retry()
		l.changed(watch.Change{Paths: []string{"a"}, Content: watch.Content{1}})
		begun := time.Now()
		<-l.due()
		if waited := time.Since(begun); waited != 0 {
			t.Errorf("the change waited %v for the retry", waited)
		}
		l.wanted = nil
		if got, _ := l.retry(); got != 10*time.Second {
			t.Errorf("pause %v after a new change, want the first one, 10s", got)
		}
	})
}

func TestJitterHoldsForChangesAndNotForOrders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := servingLoop(Config{Jitter: time.Minute})
		var longest time.Duration
		for range 100 {
			l.changed(watch.Change{Paths: []string{"a"}, Content: watch.Content{1}})
			begun := time.Now()
			<-l.due()
			waited := time.Since(begun)
			if waited >= time.Minute {
				t.Fatalf("waited %v, want less than JITTER", waited)
			}
			longest = max(longest, waited)
			l.wanted = nil
		}
		if longest < 30*time.Second { // by chance once in 2^100
			t.Errorf("the longest of 100 pauses was %v: not random in a minute", longest)
		}
		l.changed(watch.Change{Paths: []string{"a"}, Content: watch.Content{1}})
		l.order("SIGHUP")
		begun := time.Now()
		<-l.due()
		if waited := time.Since(begun); waited != 0 {
			t.Errorf("HUP waited %v for the jitter", waited)
		}
	})
}

func TestSeveralWantsAreOneHandoff(t *testing.T) {
	l := servingLoop(Config{})
	l.cancel = func(error) {} // a handoff runs
	for range 3 {
		l.changed(watch.Change{Paths: []string{"a"}, Content: watch.Content{1}})
	}
	if l.due() != nil {
		t.Fatal("a handoff is due while another runs")
	}
	l.cancel = nil
	if l.due() == nil {
		t.Fatal("no handoff is due after the one that ran")
	}
	l.wanted = nil // it begins
	if l.due() != nil {
		t.Error("a second handoff is due")
	}
}

func TestNothingIsWantedWhileStopping(t *testing.T) {
	l := servingLoop(Config{})
	l.stopping = true
	l.order("SIGHUP")
	if l.due() != nil {
		t.Error("a handoff is due while stopping")
	}
}

func TestContentBackToWhatServesIsHandedOverToo(t *testing.T) {
	l := servingLoop(Config{Retry: time.Hour})
	l.serving.content = watch.Content{1}
	for _, n := range []byte{2, 1} {
		l.changed(watch.Change{Paths: []string{"a"}, Content: watch.Content{n}})
		if l.due() == nil {
			t.Fatal("no handoff is due")
		}
	}
}

func TestFollowersAreToldOfTheHandoffAfterTheirOrder(t *testing.T) {
	l := servingLoop(Config{})
	first, second := make(follower, 1), make(follower, 1)
	l.order("reload", first)
	l.now = newHanding(1, 2, l.wanted)
	l.wanted = nil
	l.order("reload", second)
	l.order("SIGHUP")
	l.enters("warm")
	if h := <-first; h.Generation != 2 || h.Step != "warm" {
		t.Errorf("the first was told %+v", h)
	}
	if len(second) > 0 {
		t.Errorf("the second was told of a handoff that had begun before its order: %+v", <-second)
	}
	l.stopping = true
	l.unwant()
	if h := <-second; h.Outcome != control.Stopped {
		t.Errorf("the second was told %+v", h)
	}
	if _, open := <-second; open {
		t.Error("the second is left waiting")
	}
}

func TestASlowFollowerIsToldTheNewest(t *testing.T) {
	f := make(follower, 1)
	for n := range 100 {
		f.tell(control.Handoff{Generation: n})
	}
	if h := <-f; h.Generation != 99 {
		t.Errorf("told of %d, want 99", h.Generation)
	}
}
