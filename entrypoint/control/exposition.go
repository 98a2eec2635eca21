package control

import (
	"bytes"
	"mime"
	"strconv"
	"strings"

	"github.com/stablehand/stablehand/entrypoint/status"
)

// exposition writes metrics in one of two text formats: Prometheus's own,
// 0.0.4, or OpenMetrics 1.0. Written by hand: every library that has both
// brings protobuf with it, and with that the binary would be a third larger.
// The tests hold it against prometheus/common/expfmt, byte for byte.
type exposition struct {
	bytes.Buffer
	open       bool // OpenMetrics
	goroutines int  // as many as there are
}

const (
	typeText = "text/plain; version=0.0.4; charset=utf-8"
	typeOpen = "application/openmetrics-text; version=1.0.0; charset=utf-8"
)

// wantsOpen says whether an Accept header prefers OpenMetrics.
func wantsOpen(accept string) bool {
	var open, text float64
	for part := range strings.SplitSeq(accept, ",") {
		kind, params, err := mime.ParseMediaType(part)
		if err != nil {
			continue
		}
		q, err := strconv.ParseFloat(params["q"], 64)
		if err != nil {
			q = 1
		}
		switch kind {
		case "application/openmetrics-text":
			open = max(open, q)
		case "text/plain", "text/*", "*/*":
			text = max(text, q)
		}
	}
	return open > 0 && open >= text
}

var (
	helpEscapes  = strings.NewReplacer(`\`, `\\`, "\n", `\n`)
	labelEscapes = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)
)

// family begins the samples of a metric.
func (e *exposition) family(m Metric) {
	name, escapes := m.Name, helpEscapes
	if e.open {
		name, escapes = strings.TrimSuffix(name, "_total"), labelEscapes
	}
	e.WriteString("# HELP " + name + " " + escapes.Replace(m.Help))
	e.WriteString("\n# TYPE " + name + " " + m.Type + "\n")
}

// sample writes a line. Labels are names and values in turn.
func (e *exposition) sample(name string, value float64, labels ...string) {
	e.line(name, e.float(value), labels)
}

func (e *exposition) line(name, value string, labels []string) {
	e.WriteString(name)
	for i := 0; i < len(labels); i += 2 {
		e.WriteString(map[bool]string{true: "{", false: ","}[i == 0] + labels[i] + `="` + labelEscapes.Replace(labels[i+1]) + `"`)
	}
	if len(labels) > 0 {
		e.WriteString("}")
	}
	e.WriteString(" " + value + "\n")
}

// float is a number; in OpenMetrics it has a dot or an exponent.
func (e *exposition) float(v float64) string {
	s := strconv.FormatFloat(v, 'g', -1, 64)
	if e.open && !strings.ContainsAny(s, "e.") {
		s += ".0"
	}
	return s
}

// histogram writes the lines of one, whose buckets add up.
func (e *exposition) histogram(name string, h *status.Histogram, labels ...string) {
	count := func(suffix string, n uint64, labels ...string) {
		e.line(name+suffix, strconv.FormatUint(n, 10), labels)
	}
	var sum uint64
	for i, n := range h.Counts {
		bound := "+Inf"
		if i < len(h.Bounds) {
			bound = e.float(h.Bounds[i])
		}
		sum += n
		count("_bucket", sum, append(labels[:len(labels):len(labels)], "le", bound)...)
	}
	e.sample(name+"_sum", h.Sum, labels...)
	count("_count", sum, labels...)
}
