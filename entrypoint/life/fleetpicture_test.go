package life_test

import (
	"fmt"
	"slices"
	"strings"
)

// pictured is how many pods the fleets have that are drawn.
const pictured = 1000

// styles are those of the curves, by the names of the outcomes.
var styles = map[string]string{
	"Reloader":               `stroke="#ef6c00"`,
	"stablehand, JITTER=0":   `stroke="#2e7d32"`,
	"stablehand, JITTER=30s": `stroke="#1565c0" stroke-dasharray="8 3"`,
	"stablehand, JITTER=5m":  `stroke="#6a1b9a" stroke-dasharray="2 3"`,
}

const (
	ink, grey   = "#263238", "#607d8b"
	top, height = 48, 220 // of each panel
	width       = 350
)

// drawing is one in SVG.
type drawing struct{ strings.Builder }

// draw draws how a change gets to all, and how many serve while it is broken.
func draw(outcomes []*outcome) string {
	var d drawing
	d.add(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 860 350" role="img" aria-label="A change in a fleet of %d pods" font-family="Helvetica, Arial, sans-serif" font-size="13">`, pictured)
	d.add("<title>A change in a fleet of %d pods</title>", pictured)
	d.add("<desc>Left: the pods that serve a good change, minute by minute, with Reloader and with stablehand. Right: the pods that serve at all after a change that is broken and is mended after 10 minutes. With stablehand these are always all of them.</desc>")
	d.add(`<rect width="860" height="350" rx="8" fill="#ffffff"/>`)
	spread, serves := panel{&d, 60, 7}, panel{&d, 490, 15}
	spread.axes("A good change: pods that serve it")
	serves.axes("A broken one, mended after 10 min: pods that serve")
	legend := spread.x
	for _, o := range outcomes {
		if o.pods != pictured {
			continue
		}
		spread.curve(o.name, o.good, func(s sample) int { return s.fresh })
		serves.curve(o.name, slices.Concat(o.broken, o.mended), func(s sample) int { return s.serving })
		d.add(`<line x1="%d" y1="322" x2="%d" y2="322" stroke-width="2.5" %s/>`, legend, legend+34, styles[o.name])
		d.text(legend+42, 326, "start", ink, o.name)
		legend += 66 + 7*len(o.name)
	}
	d.add("</svg>")
	return d.String()
}

func (d *drawing) add(format string, args ...any) { fmt.Fprintf(d, format+"\n", args...) }

func (d *drawing) text(x, y int, anchor, fill, text string) {
	d.add(`<text x="%d" y="%d" text-anchor="%s" fill="%s">%s</text>`, x, y, anchor, fill, text)
}

// panel shows so many minutes, from x on.
type panel struct {
	*drawing
	x, minutes int
}

func (p panel) axes(title string) {
	p.text(p.x, 28, "start", ink, title)
	for percent := 0; percent <= 100; percent += 25 {
		y := top + height - height*percent/100
		p.add(`<line x1="%d" y1="%d" x2="%d" y2="%d" stroke="#cfd8dc" stroke-dasharray="3 3"/>`, p.x, y, p.x+width, y)
		p.text(p.x-8, y+4, "end", grey, fmt.Sprintf("%d %%", percent))
	}
	for minute := range p.minutes + 1 {
		p.text(p.x+width*minute/p.minutes, top+height+20, "middle", grey, fmt.Sprint(minute))
	}
	p.text(p.x+width, top+height+38, "end", grey, "minutes")
}

// curve draws something that a fleet has each second, where it changes.
func (p panel) curve(name string, all phase, of func(sample) int) {
	at := func(second int) int { return min(of(all[min(second, len(all)-1)]), pictured) } // a rolling update has some more
	var points []string
	last := 60*p.minutes - 1
	for second := range last + 1 {
		now := at(second)
		if second > 0 && second < last && now == at(second-1) && now == at(second+1) {
			continue
		}
		points = append(points, fmt.Sprintf("%.1f,%.1f", float64(p.x)+width*float64(second+1)/float64(last+1), top+height-height*float64(now)/pictured))
	}
	p.add(`<polyline fill="none" stroke-width="2.5" %s points="%s"/>`, styles[name], strings.Join(points, " "))
}
