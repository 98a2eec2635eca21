package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stablehand/stablehand/entrypoint"
	"github.com/stablehand/stablehand/entrypoint/status"
	"github.com/stablehand/stablehand/internal/pattern"
)

var statusCommand = command{
	name:    "status",
	summary: "how things stand; --watch, --json",
	about: []string{
		"Shows the generations with their workers, the handoff under way, the last one and the next, and whether what serves is what is on disk.",
	},
	codes: []row{{"0", "shown"}, {"1", "no answer"}, {"2", "wrong words"}, {"3", "no stablehand runs here"}},
	wrong: entrypoint.ExitUsage,
	prepare: func(flags *flag.FlagSet) func(string) int {
		asJSON := flags.Bool("json", false, "as JSON, for machines")
		watch := flags.Bool("watch", false, "anew each second on a terminal, until q or Ctrl-C")
		return func(string) int { return showStatus(*asJSON, *watch) }
	},
}

// watchPace is how often status --watch looks.
const watchPace = time.Second

// showStatus shows how things stand.
func showStatus(asJSON, watch bool) int {
	columns, rows := screen(os.Stdout)
	switch {
	case watch && asJSON:
		return refuse(os.Stderr, errors.New("status: --json and --watch do not go together"))
	case watch && columns == 0:
		return refuse(os.Stderr, errors.New("status: --watch needs a terminal; elsewhere ask again and again"))
	case watch:
		return watchStatus(columns, rows)
	}
	ctx, cancel := within(askTimeout)
	defer cancel()
	text, err := ask(ctx, asJSON)
	if err != nil {
		return failed(ctx, "status", err)
	}
	if _, err := os.Stdout.Write(text); err != nil {
		return failed(ctx, "status", err)
	}
	return 0
}

// ask asks once how things stand: for people, or as the other side has put it.
func ask(ctx context.Context, asJSON bool) ([]byte, error) {
	var text bytes.Buffer
	client := newClient()
	if asJSON {
		answer, err := client.StatusJSON(ctx)
		if err != nil {
			return nil, err
		}
		err = json.Indent(&text, answer, "", "  ")
		return text.Bytes(), err
	}
	now, err := client.Status(ctx)
	printStatus(&text, now, time.Now(), whereLines(now.PID), colours(os.Stdout))
	return text.Bytes(), err
}

// watchStatus shows anew each second how things stand, until q or Ctrl-C.
func watchStatus(columns, rows int) int {
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, os.Interrupt, unix.SIGTERM, unix.SIGHUP)
	keys, leave := readKeys(os.Stdin)
	defer leave()
	const wipe, home, wipeLine, wipeBelow = "\x1b[2J", "\x1b[H", "\x1b[K", "\x1b[J"
	fmt.Print(wipe)
	tick := time.NewTicker(watchPace)
	defer tick.Stop()
	for {
		ctx, cancel := within(askTimeout)
		text, err := ask(ctx, false)
		if err != nil {
			defer cancel()
			return failed(ctx, "status", err)
		}
		cancel()
		fmt.Print(home, strings.ReplaceAll(fit(string(text), columns, rows), "\n", wipeLine+"\n"), wipeBelow)
		if code, over := watchEnds(tick.C, keys, ended); over {
			return code
		}
		columns, rows = screen(os.Stdout)
	}
}

// watchEnds waits for the next look, or for the end, and says with which code.
func watchEnds(next <-chan time.Time, keys <-chan byte, ended <-chan os.Signal) (code int, over bool) {
	for {
		select {
		case <-next:
			return 0, false
		case key := <-keys:
			if key == 'q' || key == 'Q' {
				return 0, true
			}
		case sig := <-ended:
			if sig == os.Interrupt {
				return 0, true
			}
			return 128 + int(sig.(unix.Signal)), true
		}
	}
}

// escape is what tells a terminal of a colour, and takes no room.
var escape = pattern.New(`\x1b\[\d*m`)

// fit cuts a text to the size of a terminal, of which it leaves the last line
// free.
func fit(text string, columns, rows int) string {
	lines := strings.SplitAfter(text, "\n")
	lines = lines[:min(len(lines), max(rows-1, 1))]
	for i, line := range lines {
		if runes := []rune(escape().ReplaceAllString(line, "")); len(runes) > columns {
			colour := escape().FindString(line)
			lines[i] = colour + string(runes[:columns-1])
			if colour != "" {
				lines[i] += plainAgain
			}
			lines[i] += "\n"
		}
	}
	return strings.Join(lines, "")
}

// printStatus prints how things stand, for people; lines is where gunicorn's own are.
func printStatus(out io.Writer, s status.Status, now time.Time, lines string, p palette) {
	text, colour := verdict(s)
	fmt.Fprintf(out, "%s\n\n", p.paint(colour, text))
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	defer table.Flush()
	row := func(name, format string, args ...any) {
		fmt.Fprintf(table, "%s\t%s\n", name, fmt.Sprintf(format, args...))
	}
	row("stablehand", "%s, pid %d, up %s", s.Version, s.PID, span(now.Sub(s.Started)))
	for _, g := range generations(s) {
		row("generation "+fmt.Sprint(g.Number), "%s, pid %d, %sworkers ready %s, %s%s", g.is, g.PID, held(g.Generation), ready(g.Workers), asked(g.Generation), g.age(now))
	}
	for _, stray := range s.Strays {
		row("stray", "pid %d, %s: %s", stray.PID, strayIs(stray), stray.Words)
	}
	if s.InSync != nil {
		text, colour := onDisk(*s.InSync)
		row("on disk", "%s", p.paint(colour, text))
	}
	if m := s.Memory; m != nil && s.Successor == nil && s.Retiring == nil { // else there are two already
		text, colour := roomFor(*m)
		row("memory", "%s", p.paint(colour, text))
	}
	if h := s.Handoff; h != nil {
		row("handoff", "generation %d to %d for %s, reason: %s", h.From, h.Generation, span(now.Sub(h.Began)), h.Reason)
		printSteps(row, *h)
		row("", "%s, for %s", doing(*h), span(now.Sub(h.Since)))
	}
	if h := s.LastHandoff; h != nil {
		printLast(row, *h, now, p)
		if h.Outcome == status.RolledBack {
			row("", "gunicorn's own lines are %s", lines)
		}
	}
	if s.Next != nil {
		row("next handoff", "%s, reason: %s", when(s.Next.At, now), s.Next.Reason)
	}
	row("since start", "%s", totals(s.Totals))
	for _, w := range s.Watch {
		printWatched(row, w)
	}
}

// verdict is in one line what an operator wants to know first: green where all is well,
// red where nothing serves.
func verdict(s status.Status) (string, colour) {
	switch why := s.NotServing(); {
	case why != "" && s.Phase == status.Serving:
		return "NOT SERVING: " + why, red
	case s.Phase == status.Booting:
		return "BOOTING: nothing serves yet", yellow
	case why != "":
		return "STOPPING", yellow
	case s.Phase == status.Stopping:
		return "STOPPING, and serving still", yellow
	case s.Handoff != nil:
		return "SERVING; a handoff is under way", green
	}
	text, colour := "SERVING", green
	if s.InSync != nil && !*s.InSync {
		text, colour = text+", but NOT what is on disk", yellow
	}
	if n := len(s.Strays); n > 0 {
		text, colour = text+fmt.Sprintf("; other gunicorns that are not looked after: %d", n), yellow
	}
	if s.LastHandoff != nil && s.LastHandoff.Outcome == status.RolledBack {
		text, colour = text+"; the last handoff was rolled back", yellow
	}
	return text, colour
}

// shown is a generation and what it is.
type shown struct {
	*status.Generation
	is string
}

// generations lists those that are there, oldest first.
func generations(s status.Status) []shown {
	var list []shown
	retiring := "retiring"
	if s.Retiring != nil && s.Retiring.Draining {
		retiring = "draining"
	}
	for _, g := range []shown{{s.Retiring, retiring}, {s.Serving, "serving"}, {s.Successor, "coming up"}} {
		if g.Generation != nil {
			list = append(list, g)
		}
	}
	return list
}

// held is what a generation that drains holds still.
func held(g *status.Generation) string {
	switch {
	case g.Connections == nil:
		return ""
	case *g.Connections == 1:
		return "1 connection, "
	}
	return fmt.Sprintf("%d connections, ", *g.Connections)
}

// asked is how a generation that comes up has answered its probe so far.
func asked(g *status.Generation) string {
	if g.Probe == "" {
		return ""
	}
	return "probed, so far " + g.Probe + ", "
}

// age is for how long a generation has served, or else been there.
func (g shown) age(now time.Time) string {
	if g.is == "serving" {
		return "for " + span(now.Sub(g.Since))
	}
	return "started " + span(now.Sub(g.Started)) + " ago"
}

// strayIs says what a stray is.
func strayIs(s status.Stray) string {
	switch s.Is {
	case status.StraySuccessor:
		return "a successor that stablehand did not ask for"
	case status.StrayInside:
		return "started by a worker, and ends with it"
	case status.StrayBelow:
		return "runs below a generation, and ends with it"
	}
	return "runs beside"
}

func onDisk(inSync bool) (string, colour) {
	if inSync {
		return "is what serves", ""
	}
	return "is NOT what serves", yellow
}

// roomFor says whether there is memory for another generation.
func roomFor(m status.Memory) (string, colour) {
	text := fmt.Sprintf("the serving generation takes %s, another needs %s, free are %s (%s)",
		mebibytes(m.Takes), mebibytes(m.Needed), mebibytes(m.Free), m.Limit)
	if !m.Enough() {
		return "NO ROOM for another generation: " + text, yellow
	}
	return text, ""
}

func printSteps(row func(name, format string, args ...any), h status.Handoff) {
	for _, step := range h.Steps {
		row("", "%s, %s", done(step.Step, h), seconds(step.Took))
	}
}

func printLast(row func(name, format string, args ...any), h status.Handoff, now time.Time, p palette) {
	ended := h.Began.Add(time.Duration(h.Took * float64(time.Second)))
	row("last handoff", "generation %d to %d, reason: %s", h.From, h.Generation, h.Reason)
	row("", "ended %s ago, at %s", span(now.Sub(ended)), ended.Local().Format(time.DateTime))
	printSteps(row, h)
	if h.Outcome == status.HandedOff {
		row("", "done in %s", seconds(h.Took))
		return
	}
	row("", "%s", p.paint(yellow, ending(h)))
}

// when is a time to come.
func when(at, now time.Time) string {
	if left := at.Sub(now); left > 0 {
		return "in " + span(left)
	}
	return "as soon as can be"
}

func totals(t status.Totals) string {
	return fmt.Sprintf("%d handed off, %d rolled back, %d zombies reaped, %d watch errors",
		t.Handoffs[status.HandedOff], t.Handoffs[status.RolledBack], t.Reaped, t.WatchErrors)
}

// printWatched prints a path in WATCH, and what it leads to where that is not
// just itself.
func printWatched(row func(name, format string, args ...any), w status.Watched) {
	files := "1 file"
	if w.Files != 1 {
		files = fmt.Sprintf("%d files", w.Files)
	}
	row("watched", "%s, %s", w.Path, files)
	for _, to := range w.To {
		if to != w.Path {
			row("", "is %s", to)
		}
	}
	for _, fault := range w.Faults {
		row("", "%s", fault)
	}
}
