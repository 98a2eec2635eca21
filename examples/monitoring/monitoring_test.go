// Package monitoring shows that the alerts and the dashboard of this folder do
// what they say, and ask for nothing that stablehand does not tell.
package monitoring

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stablehand/stablehand/entrypoint/control"
)

// known are the metrics that stablehand tells, and their types.
var known = func() map[string]string {
	types := map[string]string{}
	for _, m := range control.Metrics() {
		types[m.Name] = m.Type
	}
	return types
}()

// series are the names under which Prometheus keeps what is known.
func series() map[string]bool {
	names := map[string]bool{}
	for name, kind := range known {
		if kind == "histogram" {
			for _, suffix := range []string{"_bucket", "_sum", "_count"} {
				names[name+suffix] = true
			}
			continue
		}
		names[name] = true
	}
	return names
}

func TestPromtoolAgrees(t *testing.T) {
	path, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("promtool is missing: it is in Debian's package prometheus")
	}
	promtool := func(t *testing.T, words ...string) {
		t.Helper()
		if out, err := exec.Command(path, words...).CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(words, " "), err, out)
		}
	}
	t.Run("alerts fire when they should", func(t *testing.T) {
		promtool(t, "check", "rules", "alerts.yml")
		promtool(t, "test", "rules", "alerts_test.yml")
	})
	t.Run("every query of the dashboard is PromQL", func(t *testing.T) {
		promtool(t, "check", "rules", asRules(t, readDashboard(t).queries()))
	})
}

// asRules writes a file of rules that ask the same.
func asRules(t *testing.T, queries []query) string {
	t.Helper()
	var rules []map[string]string
	for i, q := range queries {
		rules = append(rules, map[string]string{"record": fmt.Sprintf("query:%d", i), "expr": withoutVariables(q.expr)})
	}
	groups := []any{map[string]any{"name": "dashboard", "rules": rules}}
	text, err := json.Marshal(map[string]any{"groups": groups}) // which is YAML, too
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "rules.yml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestEveryQueryNamesMetricsThatExist(t *testing.T) {
	for _, q := range readDashboard(t).queries() {
		namesOnlyKnown(t, "dashboard.json, "+q.of, q.expr)
	}
	for _, file := range []string{"alerts.yml", "alerts_test.yml"} {
		namesOnlyKnown(t, file, read(t, file))
	}
}

func namesOnlyKnown(t *testing.T, where, text string) {
	t.Helper()
	names, series := metric.FindAllString(text, -1), series()
	if len(names) == 0 {
		t.Errorf("%s: no metric is named", where)
	}
	for _, name := range names {
		if !series[name] {
			t.Errorf("%s: there is no metric %s", where, name)
		}
	}
}

func TestTheReferenceListsEveryMetric(t *testing.T) {
	const page = "../../docs/reference/metrics.md"
	listed := map[string]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| `(\\w+)` \\| (\\w+) \\|").FindAllStringSubmatch(read(t, page), -1) {
		listed[row[1]] = row[2]
	}
	for name, kind := range known {
		if listed[name] != kind {
			t.Errorf("%s: %s is a %s, and there is %q", page, name, kind, listed[name])
		}
	}
	for name := range listed {
		if known[name] == "" {
			t.Errorf("%s: there is no metric %s", page, name)
		}
	}
}

func TestEveryPanelSaysWhatItShows(t *testing.T) {
	d := readDashboard(t)
	ids, taken := map[int]string{}, map[[2]int]string{}
	for _, p := range d.Panels {
		if p.Title == "" || p.Description == "" || p.FieldConfig.Defaults.Unit == "" {
			t.Errorf("panel %d (%s): title, description and unit are to be there", p.ID, p.Title)
		}
		if other, twice := ids[p.ID]; twice {
			t.Errorf("panels %s and %s: both have id %d", p.Title, other, p.ID)
		}
		ids[p.ID] = p.Title
		for _, source := range append(p.sources(), p.Datasource) {
			if source.UID != "${datasource}" {
				t.Errorf("%s: its data source is %q, not the one that is chosen", p.Title, source.UID)
			}
		}
		for x := range p.GridPos.W {
			for y := range p.GridPos.H {
				at := [2]int{p.GridPos.X + x, p.GridPos.Y + y}
				if other := taken[at]; other != "" || at[0] >= 24 {
					t.Fatalf("%s: %v lies outside, or on %s", p.Title, at, other)
				}
				taken[at] = p.Title
			}
		}
	}
	if len(d.Panels) == 0 {
		t.Error("there are no panels")
	}
}

// dashboard is what the tests read of Grafana's classic dashboard model.
type dashboard struct {
	Panels      []panel
	Annotations struct {
		List []struct{ Name, Expr string }
	}
	Templating struct {
		List []struct{ Name, Type, Definition string }
	}
}

type panel struct {
	ID                 int
	Title, Description string
	Datasource         source
	GridPos            struct{ X, Y, W, H int }
	FieldConfig        struct{ Defaults struct{ Unit string } }
	Targets            []struct {
		Datasource source
		Expr       string
	}
}

type source struct{ UID string }

func (p panel) sources() (list []source) {
	for _, target := range p.Targets {
		list = append(list, target.Datasource)
	}
	return list
}

func readDashboard(t *testing.T) (d dashboard) {
	t.Helper()
	if err := json.Unmarshal([]byte(read(t, "dashboard.json")), &d); err != nil {
		t.Fatal("dashboard.json:", err)
	}
	return d
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// query is something that the dashboard asks Prometheus.
type query struct{ of, expr string }

// labelValues is what Grafana has besides PromQL, to fill a variable.
var labelValues = regexp.MustCompile(`^label_values\((.*), *\w+\)$`)

// queries are all that the dashboard asks: for panels, annotations and
// variables.
func (d dashboard) queries() (list []query) {
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			list = append(list, query{"panel " + p.Title, target.Expr})
		}
	}
	for _, a := range d.Annotations.List {
		if a.Expr != "" { // Grafana's own has none
			list = append(list, query{"annotation " + a.Name, a.Expr})
		}
	}
	for _, v := range d.Templating.List {
		if v.Type == "query" {
			list = append(list, query{"variable " + v.Name, labelValues.ReplaceAllString(v.Definition, "$1")})
		}
	}
	return list
}

var (
	// metric is the name of a metric that can only be stablehand's.
	metric = regexp.MustCompile(`\b(stablehand|process)_[a-z0-9_]+`)

	// duration is a variable of Grafana's that stands for one.
	duration = regexp.MustCompile(`\$__(rate_interval|interval|range)\b`)
)

// withoutVariables is a query as Grafana would send it. A variable that stands
// for a label's value may stay: it is within quotes.
func withoutVariables(expr string) string {
	return duration.ReplaceAllString(expr, "5m")
}
