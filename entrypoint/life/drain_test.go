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
