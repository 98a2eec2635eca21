package watch

import (
	"context"
	"errors"
	"slices"
)

// resting is somebody who waits for the content to be at rest.
type resting struct {
	ctx    context.Context
	looked bool   // a look has been taken since
	moves  uint64 // as of that look
	answer chan answered
}

type answered struct {
	Content
	moves uint64
	err   error
}

var errUnseen = errors.New("a file system does not answer")

// Moves counts the looks that have seen something else than the one before, or a
// file that was written meanwhile, be it with the same content. It may be called
// from any goroutine.
//
// Where it is now what it was earlier, and no look was due in between that was not
// taken, nothing has moved, as far as was seen. See [Watcher.Rest].
func (w *Watcher) Moves() uint64 { return w.moves.Load() }

// Moving says whether the content was seen to move and is not at rest, or is, and
// waits to be reported. It may be called from any goroutine.
func (w *Watcher) Moving() bool { return w.unrest.Load() }

// Rest has everything looked at at once, whatever events have or have not told,
// and waits until it is at rest. It returns what it holds then, and [Watcher.Moves]
// as of that first look. The error is the context's, or that some of it could not
// be seen. It may be called from any goroutine.
func (w *Watcher) Rest(ctx context.Context) (Content, uint64, error) {
	r := &resting{ctx: ctx, answer: make(chan answered, 1)}
	if len(w.entries) == 0 {
		return Content{}, 0, errors.New("nothing is watched")
	}
	select {
	case w.asked <- r:
	case <-ctx.Done():
		return Content{}, 0, ctx.Err()
	case <-w.closed:
		return Content{}, 0, errClosed
	}
	select {
	case a := <-r.answer:
		return a.Content, a.moves, a.err
	case <-ctx.Done():
		return Content{}, 0, ctx.Err()
	case <-w.closed:
		return Content{}, 0, errClosed
	}
}

var errClosed = errors.New("nothing is watched any more")

// questions are those of who waits for rest. They wait themselves while a look is
// taken: it may have passed what they ask for.
func (w *Watcher) questions() <-chan *resting {
	if w.now != nil {
		return nil
	}
	return w.asked
}

// answerResting takes note of a look for those who wait for rest, and answers them
// where it has come to that.
func (w *Watcher) answerResting() {
	for _, r := range w.resting {
		if !r.looked {
			r.looked, r.moves = true, w.moves.Load()
		}
	}
	if w.pace.moving {
		w.resting = slices.DeleteFunc(w.resting, func(r *resting) bool { return r.ctx.Err() != nil })
		return
	}
	a := answered{Content: w.content()}
	if w.hung() {
		a.err = errUnseen
	}
	for _, r := range w.resting {
		a.moves = r.moves
		r.answer <- a
	}
	w.resting = nil
}
