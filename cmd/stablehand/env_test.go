package main

import (
	"slices"
	"testing"
)

func TestATextIsBrokenToAnyWidth(t *testing.T) {
	for width, want := range map[int][]string{
		7: {"one two", "a,b,c"}, 4: {"one", "two", "a,b,", "c"}, 1: {"o", "n", "e", "t", "w", "o", "a", ",", "b", ",", "c"},
		0: {"o", "n", "e", "t", "w", "o", "a", ",", "b", ",", "c"}, -2: {"o", "n", "e", "t", "w", "o", "a", ",", "b", ",", "c"},
	} {
		if got := broken("one two a,b,c", width); !slices.Equal(got, want) {
			t.Errorf("width %d: %q, want %q", width, got, want)
		}
	}
}
