package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/stablehand/stablehand/entrypoint/status"
)

const (
	// framePace is how often the line on a terminal is drawn anew: its time
	// is seen to move on.
	framePace = 100 * time.Millisecond

	// stillPace is how long nothing may be said where there is no terminal. It
	// is as long as in stablehand's own log.
	stillPace = 10 * time.Second
)

// progress shows how a handoff goes: on a terminal on one line that changes,
// elsewhere with a line for each step.
type progress struct {
	out     io.Writer
	columns int // of the terminal, 0 where there is none
	palette
	asked   time.Time
	handoff status.Handoff // as it was last told

	drawn  int       // how long the line on the terminal is
	waits  bool      // it was said that the handoff waits
	begun  bool      // and that it has begun
	steps  int       // and how many steps are done
	spoken time.Time // when anything was last said
}

func newProgress(out io.Writer, columns int, now time.Time) *progress {
	return &progress{out: out, columns: columns, asked: now, spoken: now}
}

// told takes note of how the handoff stands. Of what came between two calls
// each step is in the later one.
func (p *progress) told(h status.Handoff, now time.Time) {
	p.handoff = h
	if p.columns > 0 {
		p.draw(now)
		return
	}
	if h.WaitsFor != "" && !p.waits {
		p.waits = true
		p.say(now, "%s", doing(h))
	}
	if h.Generation != 0 && !p.begun {
		p.begun = true
		p.say(now, "handoff from generation %d to %d", h.From, h.Generation)
	}
	for ; p.steps < len(h.Steps); p.steps++ {
		step := h.Steps[p.steps]
		p.sayStep(now, string(step.Step), seconds(step.Took), done(step.Step, h))
	}
	if h.Outcome == status.HandedOff {
		p.sayStep(now, "done", seconds(h.Took), serves(h))
	}
}

// tick shows that time passes.
func (p *progress) tick(now time.Time) {
	switch {
	case p.columns > 0:
		p.draw(now)
	case now.Sub(p.spoken) < stillPace:
	case p.handoff.Step == "":
		p.say(now, "no answer yet for %s", span(now.Sub(p.asked)))
	default:
		p.sayStep(now, string(p.handoff.Step), span(now.Sub(p.handoff.Since)), "still at it: "+doing(p.handoff))
	}
}

// leave ends the line on the terminal.
func (p *progress) leave() {
	if p.drawn > 0 {
		fmt.Fprintln(p.out)
	}
	p.drawn = 0
}

func (p *progress) sayStep(now time.Time, step, took, what string) {
	p.say(now, "%-8s%7s  %s", step, took, what)
}

func (p *progress) say(now time.Time, format string, args ...any) {
	p.spoken = now
	fmt.Fprintf(p.out, format+"\n", args...)
}

// draw draws the line on the terminal. Blanks, and no escape sequence, wipe
// what a longer one has left.
func (p *progress) draw(now time.Time) {
	line := p.line(now)
	if len(line) >= p.columns && !p.handoff.Over() {
		line = line[:p.columns-1] // the last column would begin a new line
	}
	shown := line
	if p.handoff.Outcome == status.HandedOff {
		shown = p.paint(green, line)
	}
	fmt.Fprint(p.out, "\r", shown, strings.Repeat(" ", max(p.drawn-len(line), 0)))
	p.drawn = len(line)
}

// line is what the terminal shows.
func (p *progress) line(now time.Time) string {
	h := p.handoff
	switch {
	case h.Step == "" && !h.Over():
		return "asking for a handoff  " + moving(now.Sub(p.asked))
	case h.Outcome == status.HandedOff:
		return fmt.Sprintf("done in %s, %s:%s", seconds(h.Took), serves(h), took(h))
	case h.Over():
		return fmt.Sprintf("handoff from generation %d to %d:%s", h.From, h.Generation, took(h))
	case h.Generation == 0:
		return doing(h) + "  " + moving(now.Sub(h.Since))
	}
	return fmt.Sprintf("generation %d: %s  %s, %s in all",
		h.Generation, doing(h), moving(now.Sub(h.Since)), moving(now.Sub(h.Began)))
}

// took lists the steps that are done, with their times.
func took(h status.Handoff) string {
	var list []string
	for _, step := range h.Steps {
		list = append(list, " "+string(step.Step)+" "+seconds(step.Took))
	}
	return strings.Join(list, ",")
}

// doing is what a handoff is at.
func doing(h status.Handoff) string {
	switch h.Step {
	case status.Wait:
		if h.WaitsFor == "" {
			return "waiting for its turn"
		}
		return "waiting for " + h.WaitsFor + " to end"
	case status.Room:
		return waiting(h)
	case status.Spawn:
		return "starting the successor"
	case status.Warm:
		if h.Successor.All == 0 {
			return "successor started, no workers yet"
		}
		return "workers ready " + ready(h.Successor)
	case status.Probe:
		if h.Probe == "" {
			return "probing"
		}
		return "probing, so far " + h.Probe
	case status.Steer:
		return "steering new connections to the successor"
	case status.Soak:
		return "soaking"
	case status.Retire:
		return "old retiring"
	case status.Promote:
		return "successor being promoted"
	}
	return string(h.Step)
}

// waiting is what a handoff waits for that has no room.
func waiting(h status.Handoff) string {
	text := "waiting for memory"
	if m := h.Memory; m != nil {
		text += fmt.Sprintf(": %s free, %s needed", mebibytes(m.Free), mebibytes(m.Needed))
	}
	if h.Taken > 0 {
		text += fmt.Sprintf("; workers of the old one taken down: %d", h.Taken)
	}
	return text
}

func mebibytes(n int64) string { return fmt.Sprintf("%dMiB", (n+1<<19)>>20) }

// done is what a step has come to.
func done(step status.Step, h status.Handoff) string {
	switch step {
	case status.Room:
		return "there is memory for two"
	case status.Spawn:
		return "successor started"
	case status.Warm:
		return "workers ready " + ready(h.Successor)
	case status.Probe:
		return "probe answered"
	case status.Steer:
		return "new connections steered to it"
	case status.Soak:
		return "soaked"
	case status.Retire:
		return "old retired"
	case status.Promote:
		return "successor promoted"
	}
	return string(step)
}

func serves(h status.Handoff) string { return fmt.Sprintf("generation %d serves", h.Generation) }

// ready is how many of the workers are ready.
func ready(w status.Workers) string {
	if w.Blind {
		return fmt.Sprintf("? of %d", w.All)
	}
	text := fmt.Sprintf("%d of %d", w.Ready, w.All)
	if w.Dirty > 0 {
		text += fmt.Sprintf(", dirty workers ready %d of %d", w.DirtyReady, w.Dirty)
	}
	return text
}

// moving is a time that is seen to move on.
func moving(d time.Duration) string {
	if d < time.Minute {
		return fmt.Sprintf("%.1fs", max(d, 0).Seconds())
	}
	return span(d)
}
