package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// What stablehand is to reach, beside a site under the same load that is not reloaded.
const (
	mostSilence = 1.5                    // times the longest silence of that site
	mostBeyond  = 300 * time.Millisecond // until only new answers come, beyond what another site takes to start, and debounce
	debounce    = 250 * time.Millisecond // DEBOUNCE, by default
)

// goals tells how near the medians come to that, with an application.
func (r *results) goals(b *strings.Builder, app string) {
	others := thatRan(r.of(none, app))
	if len(others) == 0 {
		return
	}
	silence := median(others, func(t trial) float64 { return t.Seen.Silence })
	start := median(others, func(t trial) float64 { return t.Start })
	names, silences, beyond := []string{"goal", "at most"}, []string{"nobody answered for, beside none", fmt.Sprintf("%.1f ×", mostSilence)},
		[]string{fmt.Sprintf("only new answers, beyond the %.2f s that another gunicorn takes to start", start), fmt.Sprintf("%.2f s", (mostBeyond + debounce).Seconds())}
	for _, w := range ways {
		ran := thatRan(r.of(w, app))
		if !w.watches || len(ran) == 0 {
			continue
		}
		names = append(names, w.name)
		silences = append(silences, judged(median(ran, func(t trial) float64 { return t.Seen.Silence })/silence, mostSilence, "%.1f ×"))
		if only := median(ran, func(t trial) float64 { return t.Seen.OnlyNew }); only < 0 {
			beyond = append(beyond, "**never**")
		} else {
			beyond = append(beyond, judged(only-start, (mostBeyond+debounce).Seconds(), "%.2f s"))
		}
	}
	if len(names) == 2 {
		return
	}
	b.WriteString("\n")
	row(b, names...)
	row(b, slices.Repeat([]string{"---"}, len(names))...)
	row(b, silences...)
	row(b, beyond...)
}

func median(trials []trial, value func(trial) float64) float64 {
	var values []float64
	for _, t := range trials {
		values = append(values, value(t))
	}
	return medianOf(values)
}

// judged shows a value, in bold where it is more than the goal.
func judged(value, most float64, format string) string {
	text := fmt.Sprintf(format, value)
	if value > most {
		return "**" + text + "**"
	}
	return text
}
