package life

import "time"

// A generation reads what is watched while it comes up, and nobody can see what it
// reads. So what is watched is looked at when it has got ready: where nothing has
// moved since before it was begun, that is what it has read. Else it may have read
// something that was there for a moment. Either what is there now is something
// else than was last told, which will be told as a change, or it is not: then nothing
// but this would have it read once more.

// moves is how often what is watched has moved. What is seen late counts as having
// moved later.
func (l *Life) moves() uint64 {
	if !l.settings.Watched {
		return 0
	}
	return l.world.Disk.Moves()
}

// readPatience is how long a task waits for a look at what is watched. Most take a
// millisecond; one that takes longer is not worth holding a handoff up.
const readPatience = 50 * time.Millisecond

// read finds out, for a task, what a generation has read that has got ready. What
// takes long is found out beside. Of a generation whose beginning nobody has seen
// nobody knows.
func (l *Life) read(g *generation) {
	if !l.settings.Watched || !g.ours {
		return
	}
	noted := make(chan struct{})
	go func() {
		defer close(noted)
		if content, moves, err := l.world.Disk.Rest(l.living); err == nil {
			l.note(func() { l.hasRead(g, content, moves) })
		}
	}()
	select {
	case <-noted:
	case <-time.After(readPatience):
	}
}

// hasRead notes what was found when a generation was ready.
func (l *Life) hasRead(g *generation, content Content, moves uint64) {
	if moves == g.before {
		g.content = content
	}
	if g == l.serving {
		l.keep()
	}
	g.doubt = moves != g.before && content == l.disk
	if g == l.serving {
		l.readAgain(g)
	}
}

// readAgain asks for one more handoff where the serving generation may have read
// what was there for a moment, unless one has begun since, or is to come. Where that
// is so with each, they write it themselves, and it would never end.
func (l *Life) readAgain(g *generation) {
	if g.content != (Content{}) {
		l.again = 0
	}
	if !g.doubt || g.tried || l.next != nil || l.stopping {
		return
	}
	switch l.again++; {
	case l.again < always:
		l.request("what is watched has moved while it was read", l.jitter())
	case l.again == always:
		l.log.Warn("what is watched is written whenever a generation comes up, and is then what it was: nobody knows what was read",
			append(append([]any{"generation", g.number}, l.writtenLast(l.recurs.began)...), l.servesNow(), "do", notToWrite)...)
	}
}

// inSync says whether the serving generation is known to have read what is watched
// as it is now. Where nobody knows, and no handoff is to come, it is not known.
func (l *Life) inSync() (in, known bool) {
	switch {
	case !l.settings.Watched, l.serving == nil, l.disk == Content{}:
		return false, false
	case l.serving.content != Content{}:
		return l.serving.content == l.disk && !l.world.Disk.Moving(), true
	}
	return false, l.next != nil || l.now != nil
}
