package control

import (
	"bytes"
	"io"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/stablehand/stablehand/entrypoint/status"
)

// full is a status with a value for every metric.
func full() status.Status {
	in := false
	h := status.NewHistogram()
	for _, seconds := range []float64{0.05, 0.3, 400} {
		h.Observe(seconds)
	}
	held := 4
	return status.Status{
		Retiring: &status.Generation{Number: 6, Connections: &held},
		Memory:   &status.Memory{Free: 1 << 28, Takes: 1 << 27, Needed: 1<<27 + 1<<24},
		Version:  "v1 \"x\\y\nz", Started: time.UnixMilli(1_795_400_000_125), InSync: &in, Handoff: new(status.Handoff),
		Serving: &status.Generation{Number: 7, Since: time.UnixMilli(1_795_400_000_000), Workers: status.Workers{All: 3, Ready: 2}},
		Totals: status.Totals{
			Handoffs: map[string]int{status.HandedOff: 6, status.RolledBack: 1, status.Stopped: 0, status.Lost: 0},
			Steps:    map[status.Step]*status.Histogram{"spawn": h, "warm": status.NewHistogram()},
			Reaped:   1 << 40, WatchErrors: 2,
		},
	}
}

// What is written is what the Prometheus project's own writer makes of what it
// reads there, in both formats.
func TestMetricsAreWrittenAsPrometheusWritesThem(t *testing.T) {
	text := &exposition{}
	text.write(full())
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(text.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	for _, open := range []bool{false, true} {
		var want bytes.Buffer
		for _, m := range Metrics() {
			family := families[m.Name]
			if family == nil {
				t.Fatalf("%s has no sample", m.Name)
			}
			if _, err := writer(open)(&want, family); err != nil {
				t.Fatal(err)
			}
		}
		if open {
			expfmt.FinalizeOpenMetrics(&want)
		}
		got := &exposition{open: open}
		got.write(full())
		if diff := cmp.Diff(want.String(), got.String()); diff != "" {
			t.Errorf("OpenMetrics %v (-want +got):\n%s", open, diff)
		}
	}
}

func writer(open bool) func(io.Writer, *dto.MetricFamily) (int, error) {
	if open {
		return func(w io.Writer, f *dto.MetricFamily) (int, error) { return expfmt.MetricFamilyToOpenMetrics(w, f) }
	}
	return expfmt.MetricFamilyToText
}

func TestFormatIsAsTheAcceptHeaderPrefers(t *testing.T) {
	for accept, open := range map[string]bool{
		"":           false,
		"*/*":        false,
		"text/plain": false,
		"application/openmetrics-text; version=1.0.0":        true,
		"application/openmetrics-text;q=0, text/plain;q=0.1": false,
		"application/openmetrics-text;q=0.3,text/plain":      false,
		// As Prometheus 2.42 and 3.5 ask.
		"application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1":                                                true,
		"application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,*/*;q=0.2": true,
	} {
		if got := wantsOpen(accept); got != open {
			t.Errorf("Accept: %s: OpenMetrics %v, want %v", accept, got, open)
		}
	}
}
