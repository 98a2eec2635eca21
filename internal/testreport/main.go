// Command testreport runs the tests of one module after the other and prints
// what a person wants to read of it: what failed, with its output; what was
// skipped, a line for each reason; what the clients of the end-to-end tests saw;
// the closing line of each package; and how many tests there were in all.
//
//	testreport [-no-skips] DIR... [-- FLAG...]
//
// Each DIR is the top of a module, and the flags are go test's. With -no-skips it
// is a failure when a test was skipped.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
)

// event is one line of go test -json; see go doc test2json.
type event struct {
	Action  string
	Package string
	Test    string
	Output  string
}

// told are the lines of tests that passed which are printed all the same.
const told = "clients saw "

// reason is what a test said in its own code's name.
var reason = regexp.MustCompile(`^\s+\S+\.go:\d+: (.*)`)

type report struct {
	out                     io.Writer
	output                  map[event][]string  // of tests under way; keys have Package and Test only
	parents                 map[event]bool      // tests that have subtests are not counted
	skips                   map[string][]string // the names of tests, by the reason why
	reasons                 []string            // the keys of skips, in the order of the first
	noSkips                 bool
	passed, failed, skipped int
	broken                  bool // a package failed, or did not build
}

func main() {
	noSkips := flag.Bool("no-skips", false, "fail when a test was skipped")
	flag.Parse()
	dirs, flags := flag.Args(), []string(nil)
	if i := slices.Index(dirs, "--"); i >= 0 {
		dirs, flags = dirs[:i], dirs[i+1:]
	}
	r := newReport(os.Stdout, *noSkips)
	for _, dir := range dirs {
		if err := r.test(dir, flags); err != nil {
			fmt.Fprintf(os.Stderr, "testreport: %s: %v\n", dir, err)
			os.Exit(1)
		}
	}
	if !r.close() {
		os.Exit(1)
	}
}

func newReport(out io.Writer, noSkips bool) *report {
	return &report{out: out, output: map[event][]string{}, parents: map[event]bool{}, skips: map[string][]string{}, noSkips: noSkips}
}

// test runs the tests of the module in a directory.
func (r *report) test(dir string, flags []string) error {
	words := append([]string{"test", "-json"}, flags...)
	cmd := exec.Command("go", append(words, "./...")...)
	cmd.Dir, cmd.Stderr = dir, os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	if err := r.read(out); err != nil {
		return errors.Join(err, cmd.Wait())
	}
	err = cmd.Wait()
	if failed := new(exec.ExitError); errors.As(err, &failed) {
		r.broken = true // go test has said why
		return nil
	}
	return err
}

func (r *report) read(in io.Reader) error {
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadBytes('\n')
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		var e event
		if json.Unmarshal(line, &e) != nil {
			fmt.Fprintf(r.out, "%s", line) // go's own complaint
			continue
		}
		if e.Test == "" {
			r.ofPackage(e)
			continue
		}
		r.ofTest(e)
	}
}

// ofPackage prints what go test would without -json.
func (r *report) ofPackage(e event) {
	switch e.Action {
	case "output", "build-output":
		if e.Output != "PASS\n" {
			fmt.Fprint(r.out, e.Output)
		}
	case "fail", "build-fail":
		r.broken = true
	}
}

func (r *report) ofTest(e event) {
	test := event{Package: e.Package, Test: e.Test}
	switch e.Action {
	case "run":
		r.output[test] = nil // under way
		if i := strings.LastIndexByte(e.Test, '/'); i >= 0 {
			r.parents[event{Package: e.Package, Test: e.Test[:i]}] = true
		}
	case "output":
		r.output[test] = append(r.output[test], e.Output)
	case "pass", "fail", "skip":
		r.ended(test, e.Action)
		delete(r.output, test)
	}
}

func (r *report) ended(test event, how string) {
	counts := !r.parents[test]
	switch {
	case how == "fail":
		fmt.Fprint(r.out, strings.Join(r.output[test], ""))
		if counts {
			r.failed++
		}
	case how == "skip":
		r.skip(test)
	case counts:
		r.passed++
	}
	for _, line := range r.output[test] {
		if line = strings.TrimSpace(line); how == "pass" && strings.HasPrefix(line, told) {
			fmt.Fprintf(r.out, "%s: %s\n", test.Test, line)
		}
	}
}

func (r *report) skip(test event) {
	r.skipped++
	why := why(r.output[test])
	if r.skips[why] == nil {
		r.reasons = append(r.reasons, why)
	}
	r.skips[why] = append(r.skips[why], test.Test)
}

// why is the reason that a skipped test gave.
func why(output []string) string {
	for _, line := range output {
		if m := reason.FindStringSubmatch(line); m != nil {
			return m[1]
		}
	}
	return "it did not say why"
}

// close prints the sums and says whether all is well.
func (r *report) close() bool {
	// A test that never ended took its package with it; what it wrote says why.
	for test, output := range r.output {
		fmt.Fprintf(r.out, "%s did not end:\n%s", test.Test, strings.Join(output, ""))
		r.failed++
	}
	for _, why := range r.reasons {
		fmt.Fprintf(r.out, "skipped: %s: %s\n", some(r.skips[why]), why)
	}
	fmt.Fprintf(r.out, "%d passed, %d failed, %d skipped\n", r.passed, r.failed, r.skipped)
	if r.passed+r.failed+r.skipped == 0 {
		fmt.Fprintln(r.out, "no test ran")
		return false
	}
	if r.noSkips && r.skipped > 0 {
		fmt.Fprintln(r.out, "no test may be skipped")
		return false
	}
	return r.failed == 0 && !r.broken
}

// some names the first few tests, and says how many more there are.
func some(tests []string) string {
	const most = 3
	if len(tests) <= most {
		return strings.Join(tests, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(tests[:most], ", "), len(tests)-most)
}
