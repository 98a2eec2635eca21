package main

import (
	_ "embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// own is the part of all tests that parts.txt does not give to another.
const own = "test"

//go:embed parts.txt
var partsText string

// left are tests that are left to another part than [own].
type left struct {
	part    string
	tests   string // a pattern as of go test -run, or a directory with a slash at its end: all there
	why     string
	pattern string // that of go test, for both
}

// parseParts reads what is laid out as parts.txt is.
func parseParts(text string) (parts []left, err error) {
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		fields, why, _ := strings.Cut(line, "#")
		words := strings.Fields(fields)
		if len(words) != 2 || strings.TrimSpace(why) == "" {
			return nil, fmt.Errorf("parts.txt: %q is not PART TESTS # WHY", line)
		}
		l := left{part: words[0], tests: words[1], why: strings.TrimSpace(why), pattern: words[1]}
		if strings.HasSuffix(l.tests, "/") {
			names, err := testsIn(l.tests)
			if err != nil {
				return nil, err
			}
			l.pattern = "^(" + strings.Join(names, "|") + ")$"
		}
		parts = append(parts, l)
	}
	return parts, nil
}

// choose are the flags with which go test runs a part of the tests, and no other. What
// more than one part names is the first one's.
func choose(parts []left, part string) (flags []string, err error) {
	var chosen, others []string
	for _, l := range parts {
		switch {
		case l.part == part:
			chosen = append(chosen, l.pattern)
		case chosen == nil:
			others = append(others, l.pattern)
		}
	}
	if part != own && chosen == nil {
		return nil, fmt.Errorf("parts.txt has no part %q", part)
	}
	if chosen != nil {
		flags = append(flags, "-run="+strings.Join(chosen, "|"))
	}
	if others != nil {
		flags = append(flags, "-skip="+strings.Join(others, "|"))
	}
	return flags, nil
}

var testFunc = regexp.MustCompile(`(?m)^func (Test\w+)\(\w+ \*testing\.T\)`)

// testsIn are the tests of the package in a directory.
func testsIn(dir string) (names []string, err error) {
	files, _ := filepath.Glob(filepath.Join(dir, "*_test.go"))
	for _, file := range files {
		text, readErr := os.ReadFile(file)
		err = errors.Join(err, readErr)
		for _, found := range testFunc.FindAllSubmatch(text, -1) {
			names = append(names, string(found[1]))
		}
	}
	if err == nil && names == nil {
		err = fmt.Errorf("there is no test in %s", dir)
	}
	slices.Sort(names)
	return names, err
}

// names says whether a pattern names a test, or one above it.
func (l left) names(test string) bool {
	elements := strings.Split(test, "/")
	for i, pattern := range strings.Split(l.pattern, "/") {
		if i == len(elements) {
			return false
		}
		if found, err := regexp.MatchString(pattern, elements[i]); err != nil || !found {
			return false
		}
	}
	return true
}

// dead are the patterns of a part that name none of the tests that have run.
func dead(parts []left, part string, ran map[event]bool) (lines []string) {
	for _, l := range parts {
		if l.part != part {
			continue
		}
		found := false
		for test := range ran {
			found = found || l.names(test.Test)
		}
		if !found {
			lines = append(lines, fmt.Sprintf("parts.txt: no test is named by %s", l.tests))
		}
	}
	return lines
}

// named is what is left to others: for each part a line, and one for each of its lines,
// without what only a pattern needs.
func named(parts []left) (lines []string) {
	last := ""
	for _, l := range parts {
		if l.part != last {
			lines = append(lines, "not run here, but by make test-"+l.part+":")
		}
		last = l.part
		elements := strings.Split(strings.NewReplacer("^", "", "$", "", `\.`, ".").Replace(l.tests), "/")
		for i, element := range elements {
			if element == "." {
				elements[i] = "*"
			}
		}
		lines = append(lines, "    "+strings.Join(elements, "/")+": "+l.why)
	}
	return lines
}
