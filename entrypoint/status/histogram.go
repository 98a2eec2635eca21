package status

import "slices"

// Histogram counts durations as Prometheus does.
type Histogram struct {
	Bounds []float64 // upper bounds in seconds, without the infinite last
	Counts []uint64  // of those in each, the infinite last included
	Sum    float64   // seconds
}

// stepBounds reach from a fork to a READY_TIMEOUT that somebody has raised.
var stepBounds = []float64{0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300}

// NewHistogram is one for the steps of handoffs.
func NewHistogram() *Histogram {
	return &Histogram{Bounds: stepBounds, Counts: make([]uint64, len(stepBounds)+1)}
}

// Observe counts one duration, in seconds.
func (h *Histogram) Observe(seconds float64) {
	i, _ := slices.BinarySearch(h.Bounds, seconds)
	h.Counts[i]++
	h.Sum += seconds
}

// Clone is a copy that can be read while the original goes on counting.
func (h *Histogram) Clone() *Histogram {
	return &Histogram{Bounds: h.Bounds, Counts: slices.Clone(h.Counts), Sum: h.Sum}
}
