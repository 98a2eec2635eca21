package main

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// parts are those of parts.txt, as read at the top of the repository.
func parts(t *testing.T) []left {
	t.Helper()
	t.Chdir("../..")
	parts, err := parseParts(partsText)
	if err != nil {
		t.Fatal(err)
	}
	return parts
}

// packages are the directories of the repository that have tests, with their names.
func packages(t *testing.T) map[string][]string {
	t.Helper()
	found := map[string][]string{}
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && strings.HasPrefix(entry.Name(), ".") && path != ".":
			return fs.SkipDir
		case strings.HasSuffix(path, "_test.go") && found[filepath.Dir(path)] == nil:
			found[filepath.Dir(path)], err = testsIn(filepath.Dir(path))
		}
		return err
	})
	if err != nil || len(found) < 20 {
		t.Fatal(found, err)
	}
	return found
}

// A pattern is tried on the tests of all packages.
func TestEachPatternNamesTestsOfOnePackage(t *testing.T) {
	all := parts(t)
	packages := packages(t)
	for _, l := range all {
		pattern := regexp.MustCompile(strings.Split(l.pattern, "/")[0])
		var in []string
		for dir, names := range packages {
			if slices.ContainsFunc(names, pattern.MatchString) {
				in = append(in, dir)
			}
		}
		if len(in) != 1 {
			t.Errorf("%s names tests of %d packages: %v", l.tests, len(in), in)
		}
	}
}

// What is in no part is make test's, and nothing is in two.
func TestPartsAreApart(t *testing.T) {
	parts, err := parseParts("a ^TestA$ # one\na ^TestB$/^x$ # two\n# no part\n\nb ^TestB$ # three\n")
	if err != nil {
		t.Fatal(err)
	}
	for part, want := range map[string][]string{
		own: {"-skip=^TestA$|^TestB$/^x$|^TestB$"},
		"a": {"-run=^TestA$|^TestB$/^x$"},
		"b": {"-run=^TestB$", "-skip=^TestA$|^TestB$/^x$"},
	} {
		if got, err := choose(parts, part); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %q, %v, want %q", part, got, err, want)
		}
	}
	if _, err := choose(parts, "c"); err == nil {
		t.Error("there is a part c")
	}
	for _, wrong := range []string{"a ^TestA$\n", "a # why\n", "a b c # why\n", "a none/ # why\n"} {
		if _, err := parseParts(wrong); err == nil {
			t.Errorf("%q is taken", wrong)
		}
	}
}

func TestWhatIsLeftToOthersIsNamed(t *testing.T) {
	told := strings.Join(named(parts(t)), "\n")
	for _, want := range []string{
		"not run here, but by make test-kubernetes:\n    internal/kubernetes/: Kubernetes' own code",
		"not run here, but by make test-rest:\n    TestScript/subreap: ",
		"\n    Test(Quick)?Stop/*/subreap: ",
		"\n    TestStop/*/*/(INT|QUIT): ",
	} {
		if strings.Count(told, want) != 1 {
			t.Errorf("%q is not there once in:\n%s", want, told)
		}
	}
}

// What CONTRIBUTING.md says to type can be made.
func TestContributingNamesTargets(t *testing.T) {
	t.Chdir("../..")
	read := func(file string) string {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	makefile := read("Makefile")
	named := regexp.MustCompile("`make ([a-z-]+)").FindAllStringSubmatch(read("CONTRIBUTING.md"), -1)
	for _, target := range named {
		if !strings.Contains(makefile, "\n"+target[1]+":") {
			t.Errorf("there is no make %s", target[1])
		}
	}
	if len(named) < 10 {
		t.Errorf("only %d targets are named", len(named))
	}
}

func TestALineThatNamesNothingIsTold(t *testing.T) {
	parts := []left{{part: "a", tests: "x", pattern: "^TestA$/^x$"}, {part: "a", tests: "y", pattern: "^TestA$/^y$"}, {part: "b", tests: "z", pattern: "z"}}
	ran := map[event]bool{{Test: "TestA"}: true, {Test: "TestA/x"}: true}
	if got := dead(parts, "a", ran); len(got) != 1 || !strings.HasSuffix(got[0], " y") {
		t.Errorf("told is %q", got)
	}
}

func TestMissingToolsAreToldWithWhatHasThem(t *testing.T) {
	tools := parseTools("# tools\n\nsh            dash\nnone-such  none # for what\nnone-either  none\nbuilt-none  .cache/bin/built-none\nunasked-none  x\n")
	reasons := []string{"none-such is not installed", "no engine: none-either is missing", "sh and built-none, or so", "pre-unasked-none"}
	want := []string{
		"tests were skipped for want of: none-such, none-either, built-none",
		"to have them on Debian: apt-get install none",
		"to build them: make .cache/bin/built-none",
	}
	if got := howToGet(missing(tools, reasons)); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := howToGet(nil); got != nil {
		t.Errorf("where nothing is missing: %q", got)
	}
	if len(parseTools(toolsText)) < 20 {
		t.Error("tools.txt has few tools")
	}
}

func TestItSaysThatItGoesOn(t *testing.T) {
	var out bytes.Buffer
	r := newReport(&out, false)
	r.packages = 7
	r.tell(r.begun.Add(silence - time.Second))
	if out.Len() > 0 {
		t.Fatalf("too early: %s", out.String())
	}
	r.tell(r.begun.Add(silence))
	for _, line := range []string{
		`{"Action":"start","Package":"p"}`, `{"Action":"run","Package":"p","Test":"TestA"}`, `{"Action":"run","Package":"p","Test":"TestA/one"}`,
		`{"Action":"run","Package":"p","Test":"TestA/two"}`, `{"Action":"pause","Package":"p","Test":"TestA/two"}`,
	} {
		r.ofLine([]byte(line))
	}
	r.tell(r.begun.Add(time.Hour))
	want := "20s: compiling; 0 passed, 0 failed, 0 skipped\n1h0m0s: tests of 1 packages of 7 have begun; 0 passed, 0 failed, 0 skipped; under way: TestA/one\n"
	if out.String() != want {
		t.Errorf("told is:\n%swant:\n%s", out.String(), want)
	}
}
