package control

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestOneQuestionIsAskedAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun, at := 0, 0
		q := &turns[int]{limit: loopTimeout, ask: func(context.Context) (int, error) {
			begun++
			if at++; at > 1 {
				t.Error("two are asked at a time")
			}
			mine := begun
			time.Sleep(time.Second)
			at--
			return mine, nil
		}}
		var who sync.WaitGroup
		for range 1000 {
			who.Go(func() {
				time.Sleep(500 * time.Millisecond)
				if got, err := q.get(t.Context()); got != 2 || err != nil {
					t.Errorf("got answer %d, %v; want the one that began afterwards", got, err)
				}
			})
		}
		if got, err := q.get(t.Context()); got != 1 || err != nil {
			t.Errorf("got answer %d, %v", got, err)
		}
		who.Wait()
		if got, err := q.get(t.Context()); got != 3 || err != nil {
			t.Errorf("got answer %d, %v", got, err)
		}
	})
}

// Where the answer hangs nobody waits longer than they want to, and nothing is
// added to what hangs.
func TestAnAnswerThatHangsHoldsOneUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun, go_on := 0, make(chan struct{})
		q := &turns[int]{limit: loopTimeout, ask: func(context.Context) (int, error) {
			begun++
			<-go_on
			return begun, nil
		}}
		var who sync.WaitGroup
		for range 1000 {
			who.Go(func() {
				ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, errSlow)
				defer cancel()
				if _, err := q.get(ctx); !errors.Is(err, errSlow) {
					t.Errorf("got %v, want %v", err, errSlow)
				}
			})
		}
		who.Wait()
		if begun != 1 {
			t.Errorf("%d questions were asked, want 1", begun)
		}
		close(go_on)
		if got, err := q.get(t.Context()); err != nil || got < 2 {
			t.Errorf("got answer %d, %v", got, err)
		}
	})
}
