package life_test

import (
	"context"
	"testing"
	"time"
)

// What is known of a generation that drains: that it does, from the first moment on, and
// how much it holds as soon as that was counted.
func TestWhatDrainsIsSaidToBeforeItIsCounted(t *testing.T) {
	drains := func(w *world) { w.apart, w.settings.Drain, w.fate.holds = true, time.Minute, time.Hour }
	for name, uncounted := range map[string]bool{"counted": false, "uncounted": true} {
		t.Run(name, func(t *testing.T) {
			inLife(t, func(t *testing.T, l *lived) {
				time.Sleep(10 * time.Second)
				l.change("a")
				time.Sleep(20 * time.Second) // it has begun, and goes on for 40 s more
				s, err := l.life.Status(context.Background())
				if err != nil || s.Retiring == nil {
					t.Fatal("no generation drains", err)
				}
				if known := s.Retiring.Connections != nil; !s.Retiring.Draining || known == uncounted {
					t.Errorf("draining: %v, and its connections are known: %v", s.Retiring.Draining, known)
				}
			}, drains, func(w *world) { w.fate.uncounted = uncounted })
		})
	}
}

// What waits to be accepted would be reset by TERM: it is waited for longer than what a
// generation holds, but not for ever.
func TestWhatWaitsToBeAcceptedIsAwaitedLongerThanWhatIsHeld(t *testing.T) {
	for busy, want := range map[time.Duration]time.Duration{
		0:                time.Second,
		10 * time.Second: 10 * time.Second,
		time.Hour:        31 * time.Second,
	} {
		t.Run(busy.String(), func(t *testing.T) {
			inLife(t, func(t *testing.T, l *lived) {
				time.Sleep(10 * time.Second)
				l.change("a")
				begun := l.awaits(t, "draining generation=1")
				if took := l.awaits(t, "drained: its connections").Sub(begun); took < want || took > want+time.Second {
					t.Errorf("after %s", took)
				}
			}, func(w *world) {
				w.apart, w.settings.Drain, w.fate.holds, w.fate.busy = true, time.Second, time.Hour, busy
			})
		})
	}
}

// awaits waits until the log has some text, and returns when that is.
func (l *lived) awaits(t *testing.T, text string) time.Time {
	for end := time.Now().Add(time.Hour); l.said(text) == 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not said: %s", text)
		}
	}
	return time.Now()
}
