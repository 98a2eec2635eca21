package life

import (
	"context"
	"time"
)

// Who edits what is watched and asks for a handoff at once wants one, of what was
// edited. So what is watched is looked at when somebody asks, and where it moves the
// handoff waits until that has been told as a change, and takes it along.

// settlePatience is how long a handoff that somebody asks for waits for what is watched
// to be at rest. One that keeps moving for longer has a handoff of its own.
const settlePatience = time.Second

// settle has what is watched looked at on behalf of who has just asked for a handoff.
// Of several who ask for the same one look is taken.
func (l *Life) settle() {
	r := l.next
	if r == nil || !l.settings.Watched || !r.until.IsZero() {
		return
	}
	r.until, r.unsettled = time.Now().Add(settlePatience), true
	go func() {
		ctx, cancel := context.WithDeadline(l.living, r.until)
		defer cancel()
		content, _, err := l.world.Disk.Rest(ctx)
		l.note(func() { r.unsettled = err != nil || content != l.disk }) // until that is told
	}()
}

// settled is the earliest time for a handoff as far as what is watched is concerned.
func (r *requested) settled() time.Time {
	if r.unsettled {
		return r.until
	}
	return time.Time{}
}
