// Command testreport runs the tests of one module after the other and prints
// what a person wants to read of it: what failed, with its output; what the clients
// of the end-to-end tests saw; the closing line of each package; what was skipped,
// a line for each reason, and how to get the tools that were missing; what was left
// to others; and how many tests there were in all. While nothing else is printed it
// says how far it is.
//
//	testreport [-part NAME] [-no-skips] DIR[,FLAG]... [-- FLAG...]
//
// It is to be run at the top of the repository. Each DIR is the top of a module, and
// the flags are go test's, for one module or for all. With -part it runs that part of the tests which parts.txt
// gives to NAME, or with the name test what it gives to nobody. With -no-skips it is a
// failure when a test was skipped, or when a line of parts.txt names none.
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
	"sync"
	"time"
)

// event is one line of go test -json; see go doc test2json.
type event struct {
	Action  string
	Package string
	Test    string
	Output  string
}

// told are the lines of tests that passed which are printed all the same.
const told = "clients saw"

// noTests is what go test warns of where a part has no test in a package.
const noTests = "testing: warning: no tests to run\n"

// reason is what a test said in its own code's name: why it was skipped, or what is told.
var reason = regexp.MustCompile(`^\s+\S+\.go:\d+: (.*)`)

// report is what was printed, and is known so far.
type report struct {
	mu                      sync.Mutex
	out                     io.Writer
	begun, spoke            time.Time          // the latter when something was printed last
	packages, begunPackages int                // of the module whose tests run
	output                  map[event][]string // of tests under way; keys have Package and Test only
	paused                  map[event]bool     // those that wait for their turn
	ran                     map[event]bool
	parents                 map[event]bool      // tests that have subtests are not counted
	skips                   map[string][]string // the names of tests, by the reason why
	reasons                 []string            // the keys of skips, in the order of the first
	noSkips                 bool
	passed, failed, skipped int
	broken                  bool // a package failed, or did not build
}

func main() {
	part := flag.String("part", "", "run this part of the tests only")
	noSkips := flag.Bool("no-skips", false, "fail when a test was skipped")
	flag.Parse()
	dirs, flags := flag.Args(), []string(nil)
	if i := slices.Index(dirs, "--"); i >= 0 {
		dirs, flags = dirs[:i], dirs[i+1:]
	}
	well, err := run(*part, *noSkips, dirs, flags)
	if err != nil {
		fmt.Fprintln(os.Stderr, "testreport:", err)
	}
	if !well || err != nil {
		os.Exit(1)
	}
}

// run runs a part of the tests, or all, and says whether all is well.
func run(part string, noSkips bool, dirs, flags []string) (bool, error) {
	parts, err := parseParts(partsText)
	if err != nil {
		return false, err
	}
	if part != "" {
		chosen, err := choose(parts, part)
		if err != nil {
			return false, err
		}
		flags = append(chosen, flags...)
	}
	r := newReport(os.Stdout, noSkips)
	for _, module := range dirs {
		if err := r.test(module, flags); err != nil {
			return false, fmt.Errorf("%s: %w", module, err)
		}
	}
	if part == own {
		r.print(named(parts))
	}
	var unused []string
	if noSkips {
		unused = dead(parts, part, r.ran)
	}
	r.print(unused)
	return r.close(howToGet(missing(parseTools(toolsText), r.reasons))) && unused == nil, nil
}

func newReport(out io.Writer, noSkips bool) *report {
	now := time.Now()
	return &report{out: out, begun: now, spoke: now, output: map[event][]string{}, paused: map[event]bool{}, ran: map[event]bool{},
		parents: map[event]bool{}, skips: map[string][]string{}, noSkips: noSkips}
}

// Write prints, and remembers when.
func (r *report) Write(p []byte) (int, error) {
	r.spoke = time.Now()
	return r.out.Write(p)
}

func (r *report) print(lines []string) {
	for _, line := range lines {
		fmt.Fprintln(r, line)
	}
}

// test runs the tests of the module in a directory, behind which flags of its own may be.
func (r *report) test(module string, flags []string) error {
	words := strings.Split(module, ",")
	dir, flags := words[0], slices.Concat(flags, words[1:])
	list := exec.Command("go", "list", "./...")
	list.Dir, list.Stderr = dir, os.Stderr
	found, _ := list.Output() // what is wrong go test says, too
	r.packages, r.begunPackages = len(strings.Fields(string(found))), 0
	fmt.Fprintf(r, "compiling the tests of %d packages\n", r.packages)
	var telling sync.WaitGroup
	defer telling.Wait()
	done := make(chan struct{})
	defer close(done)
	telling.Go(func() { r.keepTelling(done) })

	cmd := exec.Command("go", append(append([]string{"test", "-json"}, flags...), "./...")...)
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
		r.ofLine(line)
	}
}

func (r *report) ofLine(line []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var e event
	switch {
	case json.Unmarshal(line, &e) != nil:
		fmt.Fprintf(r, "%s", line) // go's own complaint
	case e.Test == "":
		r.ofPackage(e)
	default:
		r.ofTest(e)
	}
}

// ofPackage prints what go test would without -json.
func (r *report) ofPackage(e event) {
	switch e.Action {
	case "start":
		r.begunPackages++
	case "output", "build-output":
		if e.Output != "PASS\n" && !strings.Contains(e.Output, "[no tests to run]") && e.Output != noTests {
			fmt.Fprint(r, e.Output)
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
		r.ran[test] = true
		if i := strings.LastIndexByte(e.Test, '/'); i >= 0 {
			r.parents[event{Package: e.Package, Test: e.Test[:i]}] = true
		}
	case "pause":
		r.paused[test] = true
	case "cont":
		delete(r.paused, test)
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
		fmt.Fprint(r, strings.Join(r.output[test], ""))
		if counts {
			r.failed++
		}
	case how == "skip":
		r.skip(test)
	case counts:
		r.passed++
	}
	for _, line := range r.output[test] {
		if said := reason.FindStringSubmatch(line); said != nil {
			line = said[1]
		}
		if line = strings.TrimSpace(line); how == "pass" && strings.HasPrefix(line, told) {
			fmt.Fprintf(r, "%s: %s\n", test.Test, line)
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

// close prints the sums, with some lines before them, and says whether all is well.
func (r *report) close(lines []string) bool {
	// A test that never ended took its package with it; what it wrote says why.
	for test, output := range r.output {
		fmt.Fprintf(r, "%s did not end:\n%s", test.Test, strings.Join(output, ""))
		r.failed++
	}
	for _, why := range r.reasons {
		fmt.Fprintf(r, "skipped: %s: %s\n", some(r.skips[why]), why)
	}
	r.print(lines)
	fmt.Fprintf(r, "%d passed, %d failed, %d skipped\n", r.passed, r.failed, r.skipped)
	if r.passed+r.failed+r.skipped == 0 {
		fmt.Fprintln(r, "no test ran")
		return false
	}
	if r.noSkips && r.skipped > 0 {
		fmt.Fprintln(r, "no test may be skipped")
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
