package main

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
)

// What a picture shows: the seconds around the change, and the sizes of a panel.
const (
	fromSecond, toSecond = -4, 42

	columns, columnWidth = 2, 440
	left, panelWidth     = 62, 364
	head, panelHeight    = 72, 176 // above the panels, and of each
	answersHeight        = 72
	waitsHeight          = 36
)

const (
	ink, grey, line   = "#263238", "#607d8b", "#cfd8dc"
	oldColour         = "#2e7d32"
	newColour         = "#1565c0"
	failedColour      = "#c62828"
	waitColour        = "#ef6c00"
	leastWait, decade = 1.0, waitsHeight / 4.0 // ms, and the height of a factor of ten: up to 10 s
)

// drawing is one in SVG.
type drawing struct{ strings.Builder }

func (d *drawing) add(format string, args ...any) { fmt.Fprintf(d, format+"\n", args...) }

func (d *drawing) text(x, y float64, anchor, fill, text string) {
	d.add(`<text x="%.0f" y="%.0f" text-anchor="%s" fill="%s">%s</text>`, x, y, anchor, fill, text)
}

// pictured is the application that a picture is of: where there is a choice, one that takes
// 5 s to load.
func (r *results) pictured() string {
	apps := r.apps()
	if want := "5 s by sleeping"; slices.Contains(apps, want) || len(apps) == 0 {
		return want
	}
	return apps[0]
}

// draw draws a panel for each way that ran: of the trial whose silence is the median.
func (r *results) draw() string {
	app := r.pictured()
	var shown []way
	var trials []trial
	for _, w := range ways {
		ran := thatRan(r.of(w, app))
		if len(ran) == 0 {
			continue
		}
		slices.SortFunc(ran, func(a, b trial) int { return cmp.Compare(a.Seen.Silence, b.Seen.Silence) })
		shown, trials = append(shown, w), append(trials, ran[(len(ran)-1)/2])
	}
	if len(shown) == 0 {
		return ""
	}
	width := columns * columnWidth
	height := head + (len(shown)+columns-1)/columns*panelHeight + 8
	var d drawing
	d.add(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img" aria-label="Answered requests and waits around a reload, by way of reloading" font-family="Helvetica, Arial, sans-serif" font-size="12">`, width, height)
	d.add("<title>Answered requests and waits around a reload, by way of reloading</title>")
	d.add("<desc>%s</desc>", describe(shown, trials, app))
	d.add(`<rect width="%d" height="%d" rx="8" fill="#ffffff"/>`, width, height)
	d.legend(app)
	for i, t := range trials {
		p := panel{&d, float64(i%columns*columnWidth + left), float64(head + i/columns*panelHeight)}
		p.draw(plain(shown[i].name), t.Seen)
	}
	d.add("</svg>")
	return d.String()
}

// describe is for who does not see it.
func describe(shown []way, trials []trial, app string) string {
	var parts []string
	for i, t := range trials {
		parts = append(parts, fmt.Sprintf("%s: nobody is answered for %.2f s", plain(shown[i].name), t.Seen.Silence))
	}
	return fmt.Sprintf("An application that loads for %s. %s.", app, strings.Join(parts, "; "))
}

// plain is a name without Markdown.
func plain(name string) string { return strings.NewReplacer("`", "", "*", "").Replace(name) }

func (d *drawing) legend(app string) {
	d.add(`<g font-weight="bold">`)
	d.text(16, 24, "start", ink, fmt.Sprintf("A reload at 0 s, of an application that loads for %s", app))
	d.add("</g>")
	x := 16.0
	for _, entry := range []struct{ colour, what string }{
		{oldColour, "answers a second, old version"}, {newColour, "new version"}, {failedColour, "failed"}, {waitColour, "longest wait, of requests due then"},
	} {
		d.add(`<rect x="%.0f" y="38" width="12" height="12" fill="%s"/>`, x, entry.colour)
		d.text(x+18, 48, "start", ink, entry.what)
		x += 44 + 6.2*float64(len(entry.what))
	}
}

// panel is what one way has seen, from a corner on.
type panel struct {
	*drawing
	x, y float64
}

func (p panel) at(second float64) float64 {
	return p.x + panelWidth*(second-fromSecond)/(toSecond-fromSecond)
}

func (p panel) draw(title string, s *seen) {
	p.add(`<g font-weight="bold">`)
	p.text(p.x, p.y+8, "start", ink, title)
	p.add("</g>")
	most := scale(s.Slots)
	top, bottom := p.y+16, p.y+16+answersHeight
	waitsBottom := bottom + 14 + waitsHeight
	for second := 0; second <= toSecond; second += 10 {
		x := p.at(float64(second))
		p.add(`<line x1="%.1f" y1="%.0f" x2="%.1f" y2="%.0f" stroke="%s" stroke-dasharray="3 3"/>`, x, top, x, waitsBottom, line)
		p.text(x, waitsBottom+16, "middle", grey, fmt.Sprintf("%d s", second))
	}
	p.text(p.x-6, top+8, "end", grey, fmt.Sprintf("%.0f/s", most/slotLength.Seconds()))
	p.text(p.x-6, bottom, "end", grey, "0")
	p.answers(s, most, bottom)
	p.waits(s, waitsBottom)
}

// scale is the most that there usually is in a slot, with some room: what was held up
// comes at once afterwards, and is cut off.
func scale(slots []slot) float64 {
	var all []int
	for _, s := range slots {
		all = append(all, s.Old+s.New+s.Failed)
	}
	slices.Sort(all)
	return max(1, 1.5*float64(all[len(all)/2]))
}

// visible are the slots that are shown, with the second in which each begins.
func visible(s *seen, show func(second float64, slot slot)) {
	for i, slot := range s.Slots {
		if second := s.From + float64(i)*slotLength.Seconds(); second >= fromSecond && second < toSecond {
			show(second, slot)
		}
	}
}

// answers draws a bar for each slot.
func (p panel) answers(s *seen, most, bottom float64) {
	width := panelWidth / (toSecond - fromSecond) * slotLength.Seconds()
	for _, part := range []struct {
		colour    string
		from, how func(slot) int
	}{
		{oldColour, func(slot) int { return 0 }, func(s slot) int { return s.Old }},
		{newColour, func(s slot) int { return s.Old }, func(s slot) int { return s.New }},
		{failedColour, func(s slot) int { return s.Old + s.New }, func(s slot) int { return s.Failed }},
	} {
		p.add(`<g fill="%s">`, part.colour)
		visible(s, func(second float64, slot slot) {
			high := func(n int) float64 { return answersHeight * min(1, float64(n)/most) }
			from, to := high(part.from(slot)), high(part.from(slot)+part.how(slot))
			if to > from {
				p.add(`<rect x="%.1f" y="%.1f" width="%.2f" height="%.1f"/>`, p.at(second), bottom-to, width, to-from)
			}
		})
		p.add("</g>")
	}
	p.add(`<line x1="%.1f" y1="%.0f" x2="%.1f" y2="%.0f" stroke="%s"/>`, p.x, bottom, p.x+panelWidth, bottom, grey)
}

// waits draws the longest wait of each slot, a decade to each step up.
func (p panel) waits(s *seen, bottom float64) {
	for _, mark := range []struct {
		ms    float64
		label string
	}{{1, "1 ms"}, {100, "0.1 s"}, {10000, "10 s"}} {
		y := bottom - high(mark.ms)
		p.add(`<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="%s" stroke-dasharray="3 3"/>`, p.x, y, p.x+panelWidth, y, line)
		p.text(p.x-6, y+4, "end", grey, mark.label)
	}
	var points []string
	visible(s, func(second float64, slot slot) {
		if slot.Worst > 0 {
			points = append(points, fmt.Sprintf("%.1f,%.1f", p.at(second+slotLength.Seconds()/2), bottom-high(slot.Worst)))
		}
	})
	p.add(`<polyline fill="none" stroke="%s" stroke-width="1.5" points="%s"/>`, waitColour, strings.Join(points, " "))
}

// high is how far up a wait is.
func high(ms float64) float64 {
	return min(waitsHeight, decade*math.Log10(max(ms, leastWait)/leastWait))
}
