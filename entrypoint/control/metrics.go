package control

import (
	"maps"
	"net/http"
	"runtime"
	"slices"
	"time"

	"github.com/stablehand/stablehand/entrypoint/status"
	"github.com/stablehand/stablehand/internal/version"
)

// Metric is one of those at /metrics.
type Metric struct{ Name, Type, Help string }

// Metrics lists all that /metrics tells.
func Metrics() []Metric {
	var list []Metric
	for _, m := range metrics {
		list = append(list, m.Metric)
	}
	return list
}

// metric is one with its samples, which come from a Status of the moment.
type metric struct {
	Metric
	samples func(e *exposition, name string, s status.Status)
}

var metrics = []metric{
	{Metric{"go_goroutines", "gauge", "Goroutines of stablehand."},
		func(e *exposition, name string, _ status.Status) { e.sample(name, float64(e.goroutines)) }},
	{Metric{"stablehand_build_info", "gauge", "A constant 1, labelled by what stablehand was built from and with."},
		func(e *exposition, name string, s status.Status) {
			built := version.Read()
			e.sample(name, 1, "goversion", built.Go, "revision", built.Commit, "version", s.Version)
		}},
	gauge("stablehand_config_in_sync", "Whether the watched content on disk is what the serving generation was started with. Missing where nothing is watched, or nobody knows.",
		func(s status.Status) (float64, bool) { return flag(s.InSync != nil && *s.InSync), s.InSync != nil }),
	gauge("stablehand_config_last_reload_successful", "Whether the last handoff succeeded; 1 before the first.",
		func(s status.Status) (float64, bool) {
			good := s.LastHandoff == nil || s.LastHandoff.Outcome == status.HandedOff
			return flag(good), true
		}),
	gauge("stablehand_config_last_reload_success_timestamp_seconds", "When the serving generation began to serve.",
		func(s status.Status) (float64, bool) {
			if s.Serving == nil {
				return 0, false
			}
			return epoch(s.Serving.Since), true
		}),
	gauge("stablehand_draining_connections", "Connections that an old generation holds while it drains. Missing where none drains.",
		func(s status.Status) (float64, bool) {
			if s.Retiring == nil || s.Retiring.Connections == nil {
				return 0, false
			}
			return float64(*s.Retiring.Connections), true
		}),
	gauge("stablehand_generation", "Number of the serving generation; 0 where none serves.",
		func(s status.Status) (float64, bool) {
			if s.Serving == nil {
				return 0, true
			}
			return float64(s.Serving.Number), true
		}),
	gauge("stablehand_generation_memory_bytes", "What the serving generation takes of memory (PSS). Missing where MEMORY is off, or nobody knows.",
		func(s status.Status) (float64, bool) {
			if s.Memory == nil {
				return 0, false
			}
			return float64(s.Memory.Takes), true
		}),
	gauge("stablehand_handoff_in_progress", "Whether a handoff is under way.",
		func(s status.Status) (float64, bool) { return flag(s.Handoff != nil), true }),
	{Metric{"stablehand_handoff_step_duration_seconds", "histogram", "How long the steps of handoffs took that were done."},
		func(e *exposition, name string, s status.Status) {
			for _, step := range slices.Sorted(maps.Keys(s.Totals.Steps)) {
				e.histogram(name, s.Totals.Steps[step], "step", string(step))
			}
		}},
	{Metric{"stablehand_handoffs_total", "counter", "Handoffs that have ended, by outcome."},
		func(e *exposition, name string, s status.Status) {
			for _, outcome := range slices.Sorted(maps.Keys(s.Totals.Handoffs)) {
				e.sample(name, float64(s.Totals.Handoffs[outcome]), "outcome", outcome)
			}
		}},
	gauge("stablehand_memory_headroom_bytes", "Memory that may still be taken, by the least that limits the container, or the machine. Missing where MEMORY is off, or nobody knows.",
		func(s status.Status) (float64, bool) {
			if s.Memory == nil {
				return 0, false
			}
			return float64(s.Memory.Free), true
		}),
	{Metric{"stablehand_watch_errors_total", "counter", "Watched paths that could not be watched as they should, and events that were lost."},
		func(e *exposition, name string, s status.Status) { e.sample(name, float64(s.Totals.WatchErrors)) }},
	gauge("stablehand_workers", "Workers of the serving generation.",
		func(s status.Status) (float64, bool) {
			if s.Serving == nil {
				return 0, true
			}
			return float64(s.Serving.All), true
		}),
	gauge("stablehand_workers_ready", "Workers of the serving generation that have entered their loop. Missing where heartbeats cannot be read.",
		func(s status.Status) (float64, bool) {
			if s.Serving == nil {
				return 0, true
			}
			return float64(s.Serving.Ready), !s.Serving.Blind
		}),
	{Metric{"stablehand_zombies_reaped_total", "counter", "Dead processes that were reaped."},
		func(e *exposition, name string, s status.Status) { e.sample(name, float64(s.Totals.Reaped)) }},
	gauge("process_start_time_seconds", "When stablehand started.",
		func(s status.Status) (float64, bool) { return epoch(s.Started), true }),
}

// gauge is a metric of one sample, which is left out where value says so.
func gauge(name, help string, value func(status.Status) (float64, bool)) metric {
	return metric{Metric{name, "gauge", help}, func(e *exposition, name string, s status.Status) {
		if v, ok := value(s); ok {
			e.sample(name, v)
		}
	}}
}

func flag(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

// epoch is a time in seconds, to the millisecond.
func epoch(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

func (e *exposition) write(s status.Status) {
	for _, m := range metrics {
		e.family(m.Metric)
		m.samples(e, m.Name, s)
	}
	if e.open {
		e.WriteString("# EOF\n")
	}
}

func (s *Server) metrics(w http.ResponseWriter, r *http.Request) {
	now, ok := s.ask(w, r)
	if !ok {
		return
	}
	e := exposition{open: wantsOpen(r.Header.Get("Accept")), goroutines: runtime.NumGoroutine()}
	e.write(now)
	w.Header().Set("Content-Type", map[bool]string{true: typeOpen, false: typeText}[e.open])
	w.Write(e.Bytes())
}
