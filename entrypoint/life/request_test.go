package life

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stablehand/stablehand/entrypoint/status"
)

// still is a generation that does nothing.
type still struct{ Generation }

func (still) Done() <-chan struct{} { return nil }
func (still) PID() int              { return 1 }
func (still) Listener() Listener    { return nil }

// deaf is a teller that does not listen.
type deaf struct{}

func (deaf) Ready(string)     {}
func (deaf) Reloading(string) {}
func (deaf) Status(string)    {}
func (deaf) Stopping(string)  {}
func (deaf) Watchdog()        {}

// quiet is what is watched, and never moves.
type quiet struct{ Disk }

func (quiet) Moves() uint64 { return 0 }
func (quiet) Moving() bool  { return false }

// servingLife is a life that serves and has no task.
func servingLife(s Settings) *Life {
	l := New(s, World{Log: slog.New(slog.DiscardHandler), Teller: deaf{}, Disk: quiet{}}, Content{})
	l.serving = newGeneration(still{}, 1)
	l.serving.ours = true
	return l
}

// change is a change of one path.
func change(n byte) Change { return Change{Paths: []string{"a"}, Content: Content{n}} }

func TestRetryDoublesUpToFiveMinutes(t *testing.T) {
	l := servingLife(Settings{Retry: 10 * time.Second})
	for _, want := range []time.Duration{10, 20, 40, 80, 160, 300, 300} {
		if got, _ := l.retry(); got != want*time.Second {
			t.Errorf("pause %v, want %v", got, want*time.Second)
		}
		l.next = nil // as when it begins
	}
}

func TestRetryLongerThanTheMaximumStays(t *testing.T) {
	l := servingLife(Settings{Retry: time.Hour})
	for range 2 {
		if got, _ := l.retry(); got != time.Hour {
			t.Errorf("pause %v, want 1h", got)
		}
		l.next = nil
	}
}

func TestRetryZeroIsNever(t *testing.T) {
	l := servingLife(Settings{})
	if got, _ := l.retry(); got != 0 || l.next != nil {
		t.Errorf("pause %v, requested %v, want neither", got, l.next)
	}
}

func TestNewChangeStartsAfresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := servingLife(Settings{Retry: 10 * time.Second})
		l.retry()
		l.next = nil
		l.retry()
		l.changed(change(1))
		begun := time.Now()
		<-l.due()
		if waited := time.Since(begun); waited != 0 {
			t.Errorf("the change waited %v for the retry", waited)
		}
		l.next = nil
		if got, _ := l.retry(); got != 10*time.Second {
			t.Errorf("pause %v after a new change, want the first one, 10s", got)
		}
	})
}

func TestAHandoffThatSucceedsStartsAfresh(t *testing.T) {
	l := servingLife(Settings{Retry: 10 * time.Second})
	l.retry()
	l.next = nil
	l.now = &underway{}
	l.handedOff(nil)
	if got, _ := l.retry(); got != 10*time.Second {
		t.Errorf("pause %v after a handoff, want the first one, 10s", got)
	}
}

func TestJitterHoldsForChangesAndNotForOrders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := servingLife(Settings{Jitter: time.Minute})
		var longest time.Duration
		for range 100 {
			l.changed(change(1))
			begun := time.Now()
			<-l.due()
			waited := time.Since(begun)
			if waited >= time.Minute {
				t.Fatalf("waited %v, want less than JITTER", waited)
			}
			longest = max(longest, waited)
			l.next = nil
		}
		if longest < 30*time.Second { // by chance once in 2^100
			t.Errorf("the longest of 100 pauses was %v: not random in a minute", longest)
		}
		l.changed(change(1))
		l.request("SIGHUP", 0)
		begun := time.Now()
		<-l.due()
		if waited := time.Since(begun); waited != 0 {
			t.Errorf("HUP waited %v for the jitter", waited)
		}
	})
}

func TestSeveralRequestsAreOneHandoff(t *testing.T) {
	l := servingLife(Settings{})
	l.cancel = func(error) {} // a handoff runs
	for n := range byte(3) {
		l.changed(change(n))
	}
	if l.due() != nil {
		t.Fatal("a handoff is due while another runs")
	}
	l.cancel = nil
	if l.due() == nil {
		t.Fatal("no handoff is due after the one that ran")
	}
	l.next = nil // it begins
	if l.due() != nil {
		t.Error("a second handoff is due")
	}
}

func TestNothingIsRequestedWhileStopping(t *testing.T) {
	l := servingLife(Settings{})
	l.stopping = true
	l.request("SIGHUP", 0)
	if l.due() != nil {
		t.Error("a handoff is due while stopping")
	}
}

func TestContentBackToWhatServesIsHandedOverToo(t *testing.T) {
	l := servingLife(Settings{Retry: time.Hour})
	l.serving.content = Content{1}
	for _, n := range []byte{2, 1} {
		l.changed(change(n))
		if l.due() == nil {
			t.Fatal("no handoff is due")
		}
	}
}

func TestFollowersAreToldOfTheHandoffAfterTheirRequest(t *testing.T) {
	l := servingLife(Settings{})
	first, second := make(follower, 1), make(follower, 1)
	l.follow(first)
	l.now = &underway{Handoff: status.Handoff{Generation: 2}, followers: l.next.followers}
	l.next = nil
	l.follow(second)
	l.request("SIGHUP", 0)
	l.enters(status.Warm)
	if h := <-first; h.Generation != 2 || h.Step != status.Warm {
		t.Errorf("the first was told %+v", h)
	}
	if len(second) > 0 {
		t.Errorf("the second was told of a handoff that had begun before its request: %+v", <-second)
	}
	l.stopping = true
	l.withdraw(errStopping)
	if h := <-second; h.Outcome != status.Stopped {
		t.Errorf("the second was told %+v", h)
	}
	if _, open := <-second; open {
		t.Error("the second is left waiting")
	}
}

// Who has asked for a handoff and does not read holds nobody up, and reads the
// newest when it does.
func TestAFollowerHoldsNobodyUp(t *testing.T) {
	f := make(follower, 1)
	for generation := range 1000 {
		f.tell(status.Handoff{Generation: generation})
	}
	f.end(status.Handoff{Generation: 1000})
	var read []int
	for h := range f {
		read = append(read, h.Generation)
	}
	if len(read) != 1 || read[0] != 1000 {
		t.Errorf("read %v, want 1000 only", read)
	}
}

func TestWhoHasGoneAsksForNothing(t *testing.T) {
	l := servingLife(Settings{Jitter: time.Hour})
	gone, waits := make(follower, 1), make(follower, 1)
	l.follow(gone)
	l.unfollow(gone)
	if l.due() != nil {
		t.Error("a handoff is due that nobody asks for any more")
	}
	l.follow(gone)
	l.follow(waits)
	l.unfollow(gone)
	if l.due() == nil {
		t.Error("no handoff is due, and one still waits for it")
	}
	l.unfollow(waits)
	l.changed(change(1))
	due := l.next.when()
	l.follow(gone)
	if !l.next.when().Before(due) {
		t.Error("who asks for a handoff waits for the jitter of a change")
	}
	if why := l.next.why(); why != "reload" {
		t.Errorf("it comes at once for %q, want reload", why)
	}
	l.unfollow(gone)
	if l.next == nil || !l.next.when().Equal(due) {
		t.Error("the change is forgotten with who has gone")
	}
}

func TestWhoAsksAndDoesNotWaitLeavesNothingBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := servingLife(Settings{})
		over := make(chan struct{})
		go func() {
			for {
				select {
				case note := <-l.notes:
					note()
				case <-over:
					return
				}
			}
		}()
		for range 20_000 {
			if err := l.ReloadSoon(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
		close(over)
		synctest.Wait()
		if l.next == nil || len(l.next.followers) > 0 {
			t.Errorf("requested: %+v, want one without followers", l.next)
		}
	})
}

func TestNothingIsAskedForWhereThereIsNoGunicorn(t *testing.T) {
	l := New(Settings{}, World{Log: slog.New(slog.DiscardHandler), Teller: deaf{}}, Content{})
	l.command = &launched{Command: plain{}}
	f := make(follower, 1)
	l.follow(f)
	l.isNoGunicorn()
	if h := <-f; h.Failure != errNoGunicorn.Error() {
		t.Errorf("who has asked before is told %+v", h)
	}
	if err := l.refuses(); err != errNoGunicorn {
		t.Errorf("who asks then is told %v", err)
	}
	l.changed(change(1))
	if l.next != nil {
		t.Error("a change is to be handed over, and nothing is there to be")
	}
}

// plain is a command that is no gunicorn.
type plain struct{ Command }

func (plain) PID() int              { return 1 }
func (plain) Done() <-chan struct{} { return nil }
