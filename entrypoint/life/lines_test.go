package life_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/stablehand/stablehand/entrypoint/life"
)

// The world is the life's log, too, and holds it to its word: what a line says is
// to be so, and what comes after it is to be as it says.

func (w *world) Enabled(context.Context, slog.Level) bool { return true }
func (w *world) WithAttrs([]slog.Attr) slog.Handler       { return w }
func (w *world) WithGroup(string) slog.Handler            { return w }

func (w *world) Handle(_ context.Context, r slog.Record) error {
	w.Lock()
	defer w.Unlock()
	var text strings.Builder
	attrs := map[string]int{}
	if r.Message == "rolled back" {
		w.patient(r)
	}
	r.Attrs(func(a slog.Attr) bool {
		fmt.Fprintf(&text, " %s", a)
		if a.Value.Kind() == slog.KindDuration && a.Key == "retry" && r.Message != "rolled back" {
			w.paused = time.Now().Add(a.Value.Duration())
		}
		if a.Value.Kind() == slog.KindInt64 {
			attrs[a.Key] = int(a.Value.Int64())
		}
		return true
	})
	w.note("%s %s%s", r.Level, r.Message, text.String())
	w.logged = r.Message
	w.named(attrs)
	w.told(r, attrs)
	w.checkServing(r.Message, attrs)
	w.atLine(r.Message, attrs["generation"])
	return nil
}

// named notes which generation is meant by a number.
func (w *world) named(attrs map[string]int) {
	for _, g := range slices.Backward(w.generations) {
		if g.pid == attrs["pid"] && attrs["generation"] != 0 {
			w.numbers[attrs["generation"]] = g
			return
		}
	}
}

// patient notes how long was too long, at most: the next one may take longer.
func (w *world) patient(r slog.Record) {
	gaveWay, took := false, time.Duration(0)
	r.Attrs(func(a slog.Attr) bool {
		switch a.Key {
		case "reason":
			gaveWay = strings.HasPrefix(a.Value.String(), "hopeless, and gives way")
		case "took":
			took = a.Value.Duration()
		}
		return true
	})
	if gaveWay {
		w.tooShort = took
	}
}

// told takes note of a line, and checks what it says.
func (w *world) told(r slog.Record, attrs map[string]int) {
	g := w.numbers[attrs["generation"]]
	isError := r.Level == slog.LevelError
	w.nothing = w.nothing || isError && strings.Contains(r.Message, "nothing serves")
	switch r.Message {
	case "master found":
		w.coming, w.plain = g, false
	case "gunicorn ended before it was ready, and the command goes on":
		w.coming = nil
		g.left = false // it is the command's, like all else that a script has begun
	case "gunicorn did not get ready: nothing serves, and it is stopped":
		w.slow = true
	case "no gunicorn is among the command's processes: until there is one, all signals go to the command, and changes are not handed over":
		w.plain, w.reasons, w.waiting = true, 0, 0
		w.may = true // what has moved may be what it was when there is a gunicorn
		for sig := range w.resized {
			w.resized[sig] = 0 // the command gets what was kept
		}
		if w.coming != nil || w.serving != nil {
			w.fault("a gunicorn is there, and is taken for none")
		}
	case "what is watched is written whenever a generation comes up, and is then what it was: nobody knows what was read":
		w.gaveUp = true
	case "stopping":
		w.stopping = time.Now()
	case "handoff":
		if g != nil {
			w.fault("a handoff begins to generation %d, which was there before", attrs["generation"])
		}
	case "serving":
		w.serves(g)
	case "handed off":
		w.failures, w.tooShort = 0, 0
		if g.failed && w.stopping.IsZero() {
			w.fault("handed off to generation %d, which has ended", g.number)
		}
		if w.foreign {
			w.reasons++ // nobody knows what the successor had read
		}
	case "the handoff failed, and nothing serves":
		if !w.stopping.IsZero() && w.serving.diedAt.After(w.stopping) {
			w.fault("generation %d was told to stop, and its end is called a failure", w.serving.number)
		}
	case "ending what is left":
		w.ending = true
	case "gunicorn has a successor that stablehand did not ask for: handing over to it":
		w.reasons++
		if !slices.ContainsFunc(w.generations, func(g *generation) bool { return g.stray && g.pid == attrs["pid"] }) {
			w.fault("process %d is called a successor that nobody asked for", attrs["pid"])
		}
	case "the serving master has ended: the successor that stablehand did not ask for inherits as soon as it is ready":
		w.reasons++
	case "a successor came up only after its handoff was rolled back, and was ended":
		if !g.dead() {
			w.fault("generation %d was ended, and is there", g.number)
		}
	case "no room in memory for two generations: waiting for it", "no room in memory for two generations: taking workers of the old one down":
		w.roomed = time.Now()
	case "rolled back":
		w.roomLooked, w.roomed = false, time.Time{}
		w.checkGivenBack()
		if isError && !w.stopping.IsZero() {
			w.fault("a handoff that was stopped is called a failure")
		}
		w.rolledBack()
	}
}

// serves: only a generation that is ready begins to serve, and none once we stop, where
// another one serves.
func (w *world) serves(g *generation) {
	if !w.stopping.IsZero() && w.everServed && !w.serving.dead() {
		w.fault("generation %d begins to serve, and stablehand stops", g.number)
	}
	old := w.serving
	w.serving, w.everServed, w.coming = g, true, nil
	if g.early {
		w.reasons++ // for one that nobody looks after
	} else if a := w.adopted; a != nil && a.Generation == life.Generation(g) && a.Content != w.disk {
		w.reasons++ // it has not read what is there, or nobody knows
	}
	if !g.ready {
		w.fault("generation %d serves and is not ready", g.number)
	}
	if !w.answers(g) && (old == nil || !old.dead()) {
		w.fault("generation %d serves and has not answered", g.number)
	}
}

// rolledBack: the serving generation untouched, and not one process of the
// successor.
func (w *world) rolledBack() {
	w.failures, w.failedAt = 1, time.Now()
	for _, g := range w.generations {
		if g == w.serving {
			if g.termed && !w.stopped {
				w.fault("generation %d was told to end, and the handoff rolled back", g.number)
			}
			if g.dead() && g.diedAt.Before(time.Now()) && !w.stopped {
				w.fault("rolled back to generation %d, which has ended", g.number)
			}
			continue
		}
		if (!g.dead() || g.left) && !g.stray && g != w.serving.late && !w.stopped {
			w.fault("rolled back, and generation %d is there", g.number)
		}
	}
}

// checkServing: the field serving is the number of the generation that answers
// requests, or 0 where none does.
func (w *world) checkServing(message string, attrs map[string]int) {
	number, told := attrs["serving"]
	if !told {
		return
	}
	g := w.numbers[number]
	switch {
	case number == 0:
		if w.serving != nil && w.serving.accepts() && w.stopping.IsZero() {
			w.fault("%q says that nothing serves, and generation %d does", message, w.serving.number)
		}
	case g == nil || !g.ready || g.dead() && g.diedAt.Before(time.Now()):
		w.fault("%q says that generation %d serves, and it does not", message, number)
	}
}

// atLine has something happen in the very moment of a line: with the loop and its
// task to do as they like, or before they can do anything else.
func (w *world) atLine(message string, number int) {
	again := message == "still at it" || message == "cannot end the successor: trying on"
	if w.strikes == nil || again && w.serving != nil && w.serving.dead() {
		return // else nothing that goes on for ever would be left to itself
	}
	if chance(w.strikes, 1) {
		go w.atOnce(w.strikes.IntN(16))
	}
	g := w.numbers[number]
	if g == nil || g.dead() || !chance(w.strikes, 3) {
		return
	}
	switch message {
	case "warmed", "probed", "soaked", "promoted":
		w.note("generation %d is struck at once", g.number)
		w.struck, g.known = true, true
		g.endLocked(exit{code: 137})
	}
}

// wantedCode is the exit code that is gunicorn's, as the log has told the story.
func (w *world) wantedCode(given bool) (code int, known bool) {
	switch {
	case given, w.slow && !w.everServed:
		return life.ExitFailed, true
	case w.everServed:
		return w.serving.exit.ExitCode(), w.serving.dead()
	case w.coming != nil:
		return w.coming.exit.ExitCode(), w.coming.dead()
	}
	return w.command.exit.ExitCode(), w.command.dead()
}
