package main_test

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestContributingTellsEveryWord holds the table of the scripts' words against the words
// that there are.
func TestContributingTellsEveryWord(t *testing.T) {
	text, err := os.ReadFile("../../CONTRIBUTING.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, found := strings.Cut(string(text), "| word | what it does |\n")
	table, _, ended := strings.Cut(table, "\n\n")
	if !found || !ended {
		t.Fatal("there is no such table")
	}
	told := map[string]bool{}
	for row := range strings.Lines(table) {
		words, _, _ := strings.Cut(strings.TrimPrefix(row, "| "), " | ")
		for _, word := range regexp.MustCompile("`([a-z]+)[ `]").FindAllStringSubmatch(words, -1) {
			told[word[1]] = true
		}
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(commands)), slices.Sorted(maps.Keys(told))); diff != "" {
		t.Errorf("words (-in the code +in CONTRIBUTING.md):\n%s", diff)
	}
}
