package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
)

// show prints the tables, puts them into the page, and draws the picture.
func (r *results) show(o options) error {
	for _, p := range r.parts() {
		fmt.Println(p.text)
		if o.page == "" {
			continue
		}
		if err := putInto(o.page, p.name, p.text); err != nil {
			return err
		}
	}
	if picture := r.draw(); picture != "" {
		return os.WriteFile(o.picture, []byte(picture), 0o644)
	}
	return nil
}

// The comments between which a part of the page is.
func marks(name string) (begin, end string) {
	return fmt.Sprintf("<!-- measured: %s -->\n", name), fmt.Sprintf("<!-- end of %s -->", name)
}

// placeIn returns what the page has before and after the place of a part.
func placeIn(page, name string) (head, tail string, err error) {
	text, err := os.ReadFile(page)
	if err != nil {
		return "", "", err
	}
	begin, end := marks(name)
	head, rest, ok := strings.Cut(string(text), begin)
	_, tail, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		return "", "", fmt.Errorf("%s has no place for this: write %q and %q on lines of their own", page, strings.TrimSpace(begin), end)
	}
	return head, tail, nil
}

// putInto puts a text into the place that the page has for it, and leaves the others.
func putInto(page, name, text string) error {
	head, tail, err := placeIn(page, name)
	if err != nil {
		return err
	}
	begin, end := marks(name)
	return os.WriteFile(page, []byte(head+begin+"\n"+strings.TrimSpace(text)+"\n\n"+end+tail), 0o644)
}

// part is what has a place of its own in the page, so that what is measured at another
// time, or on another machine, stands beside it.
type part struct{ name, text string }

// atRest is the name of the part about sites that are not reloaded, or by what does not
// load. Those about reloads have the names of their applications.
const atRest = "rest"

// parts are all tables, in Markdown.
func (r *results) parts() (parts []part) {
	for _, app := range r.apps() {
		parts = append(parts, part{app, r.reloads(app)})
	}
	if len(r.standings) > 0 {
		parts = append(parts, part{atRest, r.standingTable()})
	}
	return parts
}

// where tells where, when and how something was measured, and how busy the machine was.
func (r *results) where(busy []float64) string {
	m := r.machine
	return fmt.Sprintf("%s, `%s`: %d × %s, %.0f GB, Linux %s, Python %s, %s. %s", m.Date, m.Command, m.Processors, m.Processor, m.GB, m.Kernel, m.Python, m.Packages,
		howBusy(medianOf(busy), slices.Max(busy)))
}

// reloads tells of all ways with an application.
func (r *results) reloads(app string) string {
	var busy []float64
	for _, t := range r.trials {
		if t.App == app {
			busy = append(busy, t.Busy)
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "### An application that loads for %s\n\n%s %s\n\n", app, r.where(busy), r.rounds(app))
	row(&b, "reload by", "failed, new connections", "failed, kept ones", "sent again", "nobody answered for", "first new answer", "only new answers", "p50", "p99", "p99.9", "memory")
	row(&b, slices.Repeat([]string{"---"}, 11)...)
	for _, w := range append(slices.Clone(ways), none) {
		trials := r.of(w, app)
		if len(trials) == 0 {
			continue
		}
		of := cells(trials)
		if w.key == none.key {
			of[firstNew], of[onlyNew] = "", "" // nothing new was to come
		}
		row(&b, append([]string{w.name}, of...)...)
	}
	r.goals(&b, app)
	return b.String()
}

// rounds tells how often each way was tried.
func (r *results) rounds(app string) string {
	var counts []int
	for _, w := range ways {
		if n := len(r.of(w, app)); n > 0 {
			counts = append(counts, n)
		}
	}
	if least, most := slices.Min(counts), slices.Max(counts); least < most {
		return fmt.Sprintf("Rounds: %d to %d.", least, most)
	}
	return fmt.Sprintf("Rounds: %d.", counts[0])
}

func row(b *strings.Builder, cells ...string) {
	fmt.Fprintf(b, "| %s |\n", strings.Join(cells, " | "))
}

// calm is up to how much of all processors may be others'.
const calm = 0.1

// howBusy tells how many processors others kept busy, and what that means.
func howBusy(median, most float64) string {
	text := fmt.Sprintf("Just before each run others kept %.2f of %d processors busy in the median, %.2f at the most.", median, processors(), most)
	if median < calm*float64(processors()) {
		return text
	}
	return text + " **So the machine was not calm**: waits, silences of less than a second, and how long it takes to load by computing are the machine's as much as the way's."
}

// The places of two of the cells.
const firstNew, onlyNew = 4, 5

// cells tell what came of the trials of one way.
func cells(trials []trial) []string {
	ran := thatRan(trials)
	if len(ran) == 0 {
		return append([]string{"did not run: " + inCell(trials[0].Reason)}, slices.Repeat([]string{""}, 9)...)
	}
	of := func(value func(*seen) float64, format, unit string) string {
		var values []float64
		for _, t := range ran {
			values = append(values, value(t.Seen))
		}
		return spread(values, format, unit)
	}
	wait := func(i int) string {
		return of(func(s *seen) float64 { return s.Before[i] }, "%.1f", "") + " → " + of(func(s *seen) float64 { return s.During[i] }, "%.1f", " ms")
	}
	var fresh, kept failures
	for _, t := range ran {
		fresh.add(t.Seen.New)
		kept.add(t.Seen.Kept)
	}
	var peaks []float64
	for _, t := range ran {
		peaks = append(peaks, float64(t.Peak)/(1<<20))
	}
	return []string{
		fresh.String(), kept.String(), fmt.Sprint(kept.Again),
		of(func(s *seen) float64 { return s.Silence }, "%.2f", " s"),
		of(func(s *seen) float64 { return s.FirstNew }, "%.1f", " s"),
		of(func(s *seen) float64 { return s.OnlyNew }, "%.1f", " s"),
		wait(0), wait(1), wait(2), spread(peaks, "%.0f", " MB"),
	}
}

// thatRan are the trials in which there was a reload, whatever came of it.
func thatRan(trials []trial) []trial {
	return slices.DeleteFunc(slices.Clone(trials), func(t trial) bool { return t.Seen == nil })
}

// spread is the median, and in parentheses the least and the most where they differ. What
// is below 0 never was.
func spread(values []float64, format, unit string) string {
	shown := func(v float64) string {
		if v < 0 {
			return "never"
		}
		return fmt.Sprintf(format, v)
	}
	middle := medianOf(values)
	least, median, most := shown(slices.Min(values)), shown(middle), shown(slices.Max(values))
	switch {
	case least == most && middle < 0:
		return median
	case least == most:
		return median + unit
	}
	return fmt.Sprintf("%s (%s–%s)%s", median, least, most, unit)
}

func medianOf(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}

// String tells how many failed, and how.
func (f failures) String() string {
	var kinds []string
	for _, k := range []struct {
		n    int
		what string
	}{{f.Refused, "refused"}, {f.Reset, "reset"}, {f.Late, "not answered in 10 s"}, {f.Other, "broken"}} {
		if k.n > 0 {
			kinds = append(kinds, fmt.Sprintf("%d %s", k.n, k.what))
		}
	}
	if len(kinds) == 0 {
		return fmt.Sprintf("0 of %d", f.Requests)
	}
	return fmt.Sprintf("**%d** of %d: %s", f.failed(), f.Requests, strings.Join(kinds, ", "))
}

func (r *results) standingTable() string {
	var busy []float64
	for _, s := range r.standings {
		busy = append(busy, s.Busy)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "### At rest, and a change that does not load\n\n%s\n\n", r.where(busy))
	row(&b, "reload by", "its own process", "anonymous", "RSS", "CPU at rest", "a change that does not load")
	row(&b, slices.Repeat([]string{"---"}, 6)...)
	for _, w := range ways {
		s := r.standing(w)
		switch {
		case s == nil:
		case s.Broken == nil:
			row(&b, w.name, "did not run: "+inCell(s.Reason), "", "", "", "")
		default:
			row(&b, w.name, "`"+s.Manager+"`", fmt.Sprintf("%.1f MB", float64(s.Anonymous)/1024), fmt.Sprintf("%.1f MB", float64(s.Resident)/1024),
				fmt.Sprintf("%.1f ms in %s", s.CPU.Seconds()*1000, s.Rested), s.verdict())
		}
	}
	return b.String()
}

// verdict is what became of a change that does not load.
func (s *standing) verdict() string {
	b := s.Broken
	failed := b.New
	failed.add(b.Kept)
	old, other := b.LastAnswers["v1"], b.LastAnswers["failed"]
	told := fmt.Sprintf("failed: %s, nobody answered for %.1f s", failed, b.Silence)
	switch {
	case old > 0 && failed.failed() == 0:
		told = "the old version answered throughout"
	case old > 0 && other == 0:
		told = "the old version answers; " + told
	case old > 0:
		told = fmt.Sprintf("in the end %d of %d failed; %s", other, old+other, told)
	default:
		told = "**the site is gone**; " + told
	}
	if s.Ended != "" {
		told += "; it " + s.Ended
	}
	return told
}

// inCell is a text as a cell of a table can have it.
func inCell(text string) string {
	return strings.NewReplacer("|", `\|`, "\n", " ", "<", "&lt;").Replace(text)
}
