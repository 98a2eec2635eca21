package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// silence is how long nothing may be said while tests are compiled or run.
const silence = 20 * time.Second

// keepTelling says how far it is whenever nothing has been printed for long, until
// done is closed.
func (r *report) keepTelling(done <-chan struct{}) {
	look := time.NewTicker(time.Second)
	defer look.Stop()
	for {
		select {
		case <-done:
			return
		case now := <-look.C:
			r.tell(now)
		}
	}
}

func (r *report) tell(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now.Sub(r.spoke) < silence {
		return
	}
	fmt.Fprintf(r, "%s: %s\n", now.Sub(r.begun).Round(time.Second), r.howFar())
}

// howFar is where it stands: a package whose tests have not begun is compiled, or
// waits for its turn.
func (r *report) howFar() string {
	said := "compiling"
	if r.begunPackages > 0 {
		said = fmt.Sprintf("tests of %d packages of %d have begun", r.begunPackages, r.packages)
	}
	said += fmt.Sprintf("; %d passed, %d failed, %d skipped", r.passed, r.failed, r.skipped)
	if underWay := r.underWay(); len(underWay) > 0 {
		said += "; under way: " + some(underWay)
	}
	return said
}

// underWay are the tests that neither wait for their turn nor for tests of their own.
func (r *report) underWay() (names []string) {
	for test := range r.output {
		if !r.parents[test] && !r.paused[test] {
			names = append(names, test.Test)
		}
	}
	slices.SortFunc(names, strings.Compare)
	return names
}
