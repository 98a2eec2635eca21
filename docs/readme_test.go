package docs

import (
	"slices"
	"strings"
	"testing"
)

// TestTheREADMEIsShort is what a new user reads: it leads to the rest.
func TestTheREADMEIsShort(t *testing.T) {
	lines := slices.Collect(strings.Lines(read(t, "../README.md")))
	if len(lines) > 150 {
		t.Errorf("README.md has %d lines, want at most 150", len(lines))
	}
	for _, command := range []string{"$ make demo ", "$ make test "} {
		if !slices.ContainsFunc(lines, func(line string) bool { return strings.HasPrefix(line, command) }) {
			t.Errorf("README.md does not have %q", command)
		}
	}
}
