package main

import (
	"fmt"
	"slices"
	"strings"
)

// A goal is what stablehand is to keep to: a limit, or so many times what tini takes.
type goal struct {
	what  string
	shown func(initCost) string
	value func(initCost) float64
	limit float64
	times float64
	unit  string
}

func initTable(o options, programs []initProgram, costs []initCost) string {
	var b strings.Builder
	names := []string{""}
	for _, p := range programs {
		names = append(names, p.name)
	}
	row(&b, append(names, "goal", "kept")...)
	row(&b, slices.Repeat([]string{"---"}, len(names)+2)...)
	spreadOf := func(values []float64, unit string) string { return spread(slices.Clone(values), "%.1f", unit) }
	for _, g := range []goal{
		{what: "start to exec, beyond none", shown: func(c initCost) string { return spreadOf(quartiles(c.start), " ms") }, value: func(c initCost) float64 { return medianOf(c.start) }, times: 3},
		{what: "a signal to gunicorn's handler", shown: func(c initCost) string { return spreadOf(quartiles(c.signal), " ms") }, value: func(c initCost) float64 { return medianOf(c.signal) }, times: 2},
		{what: fmt.Sprintf("%d orphans reaped", o.orphans), shown: func(c initCost) string { return spreadOf(c.reap, " ms") }, value: func(c initCost) float64 { return medianOf(c.reap) }, times: 2},
		{what: "anonymous memory, gunicorn started", shown: func(c initCost) string { return fmt.Sprintf("%.1f MB", float64(c.anonymous)/1024) }, value: func(c initCost) float64 { return float64(c.anonymous) / 1024 }, limit: 6, unit: " MB"},
		{what: "RSS, gunicorn started", shown: func(c initCost) string { return fmt.Sprintf("%.1f MB", float64(c.resident)/1024) }},
		{what: "binary", shown: func(c initCost) string { return fmt.Sprintf("%.2f MB", float64(c.size)/1e6) }, value: func(c initCost) float64 { return float64(c.size) / 1e6 }, limit: 9, unit: " MB"},
		{what: fmt.Sprintf("wake-ups in %s at rest", o.rest), shown: func(c initCost) string { return fmt.Sprint(c.wakeups) }, value: func(c initCost) float64 { return float64(c.wakeups) }, limit: 0.5},
		{what: fmt.Sprintf("system calls in %s at rest, by strace", o.rest), shown: func(c initCost) string { return fmt.Sprint(c.syscalls) }, value: func(c initCost) float64 { return float64(c.syscalls) }, limit: 0.5},
		{what: fmt.Sprintf("CPU in %s at rest", o.rest), shown: func(c initCost) string { return fmt.Sprintf("%.1f ms", c.cpu) }},
	} {
		cells := []string{g.what}
		for _, c := range costs {
			cells = append(cells, g.shown(c))
		}
		row(&b, append(cells, g.verdict(costs)...)...)
	}
	return b.String()
}

// verdict is the goal, and whether the last of them keeps to it.
func (g goal) verdict(costs []initCost) []string {
	if g.value == nil {
		return []string{"", ""}
	}
	limit, shown := g.limit, fmt.Sprintf("at most %g%s", g.limit, g.unit)
	if g.times > 0 {
		limit, shown = g.times*g.value(costs[0]), fmt.Sprintf("at most %g × tini", g.times)
	} else if limit < 1 {
		shown = "none"
	}
	if g.value(costs[len(costs)-1]) <= limit {
		return []string{shown, "yes"}
	}
	return []string{shown, "**no**"}
}

// quartiles leave out what happens now and then, as something else gets a processor.
func quartiles(values []float64) []float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return []float64{sorted[n/4], sorted[n/2], sorted[3*n/4]}
}
