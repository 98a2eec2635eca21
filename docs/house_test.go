package docs

import (
	"os/exec"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/stablehand/stablehand/"

// TestTheHouseStandsAsItIsDrawn holds what architecture.md says that each package stands
// on against what it imports.
func TestTheHouseStandsAsItIsDrawn(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}}{{range .Imports}} {{.}}{{end}}`, "../...").Output()
	if err != nil {
		t.Fatal(err)
	}
	imports := map[string][]string{}
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		var ours []string
		for _, imported := range fields[1:] {
			if name, own := strings.CutPrefix(imported, module); own {
				ours = append(ours, path.Base(name))
			}
		}
		slices.Sort(ours)
		imports[strings.TrimPrefix(fields[0], module)] = ours
	}
	rows := regexp.MustCompile(`(?m)^\| \[([a-z/]+)\]\([^)]+\) \| .* \| ([^|]+) \|$`).FindAllStringSubmatch(read(t, "architecture.md"), -1)
	if len(rows) < 15 {
		t.Errorf("only %d packages were found", len(rows))
	}
	for _, row := range rows {
		if row[2] == "all below" {
			continue
		}
		var drawn []string
		for _, word := range regexp.MustCompile(`[a-z/]+`).FindAllString(row[2], -1) {
			if name := path.Base(word); slices.ContainsFunc(rows, func(other []string) bool { return path.Base(other[1]) == name }) {
				drawn = append(drawn, name)
			}
		}
		slices.Sort(drawn)
		if !slices.Equal(drawn, imports[row[1]]) {
			t.Errorf("%s is drawn on %v, and imports %v", row[1], drawn, imports[row[1]])
		}
	}
}
