package main

import (
	"flag"
	"strings"
	"testing"

	"github.com/stablehand/stablehand/entrypoint"
)

// helps are the texts of all helps by the words that ask for them.
func helps() map[string]string {
	sections, short := manual()
	texts := map[string]string{"help": plain(sections[:short])}
	for _, c := range commands() {
		texts["help "+c.name] = c.help()
	}
	return texts
}

func TestHelpFitsATerminal(t *testing.T) {
	for words, text := range helps() {
		for line := range strings.Lines(text) {
			if line = strings.TrimSuffix(line, "\n"); len(line) > 80 || strings.TrimRight(line, " ") != line {
				t.Errorf("stablehand %s: %d columns: %q", words, len(line), line)
			}
		}
	}
}

// The one table is what everything is made of: that each of them has all of it.
func TestEverythingThatIsToldTellsOfEachCommandAndOption(t *testing.T) {
	sections, short := manual()
	general := plain(sections[:short])
	told := map[string]string{"bash": bashCompletion(), "zsh": zshCompletion(), "fish": fishCompletion(), "man": manPage()}
	for _, c := range commands() {
		if !strings.Contains(general, "stablehand "+c.name+" ") {
			t.Errorf("help does not name %s", c.name)
		}
		for _, o := range c.options() {
			if o.usage == "" {
				t.Errorf("%s --%s: nothing is told of it", c.name, o.name)
			}
			if !strings.Contains(c.help(), "\n  "+o.String()+" ") {
				t.Errorf("the help of %s does not tell of %v", c.name, o)
			}
		}
		for by, text := range told {
			for _, o := range append(c.options(), option{name: c.name}) {
				if by == "man" {
					o.name = strings.ReplaceAll(o.name, "-", `\-`)
				}
				if !strings.Contains(text, o.name) {
					t.Errorf("%s does not tell of %s, of %s", by, o.name, c.name)
				}
			}
		}
	}
	var c entrypoint.Config
	for _, v := range c.Variables() {
		if !strings.Contains(told["man"], v.Name) {
			t.Errorf("the manual page does not tell of %s", v.Name)
		}
	}
}

func TestOneWordIsTakenWhereThereIsOne(t *testing.T) {
	took := "nothing"
	c := command{name: "try", wrong: 9, prepare: func(*flag.FlagSet) func(string) int {
		return func(word string) int { took = word; return 0 }
	}}
	c.operand = operand{name: "WORD", one: func() []string { return []string{"this", "that"} }}
	for _, test := range []struct {
		words []string
		code  int
		took  string
	}{
		{nil, 0, ""},
		{[]string{"that"}, 0, "that"},
		{[]string{"other"}, 9, "nothing"},
		{[]string{"this", "that"}, 9, "nothing"},
		{[]string{"--flag"}, 9, "nothing"},
	} {
		if took = "nothing"; c.run(test.words) != test.code || took != test.took {
			t.Errorf("%q: took %q, want %q and code %d", test.words, took, test.took, test.code)
		}
	}
	if c.operand.required = true; c.run(nil) != 9 {
		t.Error("no word was taken for one")
	}
}
