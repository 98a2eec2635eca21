package control

import (
	"context"
	"sync"
	"time"
)

// turns has a question asked once at a time, however many want to know: who comes
// meanwhile gets, with all others who do, the answer to one that begins after
// they came. So a flood of questions takes one thread at most, also where the
// answer hangs.
type turns[T any] struct {
	limit time.Duration // how long the answer may take
	ask   func(context.Context) (T, error)

	mu   sync.Mutex
	now  *turn[T] // being asked; nil if none is
	next *turn[T] // to be asked then; nil if nobody wants it
}

// turn is a question that was asked once.
type turn[T any] struct {
	over   chan struct{}
	answer T
	err    error
}

// get is an answer to the question, asked after now. It waits until ctx is done.
func (t *turns[T]) get(ctx context.Context) (T, error) {
	mine := t.join()
	select {
	case <-mine.over:
		return mine.answer, mine.err
	case <-ctx.Done():
		var none T
		return none, context.Cause(ctx)
	}
}

// join is the turn that begins next.
func (t *turns[T]) join() *turn[T] {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.next == nil {
		t.next = &turn[T]{over: make(chan struct{})}
	}
	mine := t.next
	if t.now == nil {
		t.now, t.next = mine, nil
		go t.take(mine)
	}
	return mine
}

// take asks until nobody wants to know any more.
func (t *turns[T]) take(now *turn[T]) {
	for ; now != nil; now = t.done() {
		ctx, cancel := context.WithTimeoutCause(context.Background(), t.limit, errSlow)
		now.answer, now.err = t.ask(ctx)
		cancel()
		close(now.over)
	}
}

func (t *turns[T]) done() *turn[T] {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.now, t.next = t.next, nil
	return t.now
}
