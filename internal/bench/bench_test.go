package main

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stablehand/stablehand/internal/load"
)

// outage is a load of one request each 10 ms from 5 s before the change until 12 s after
// it. The old version answers until 1 s, then nobody until 4 s, and from then on the new
// one, but for one old answer at 6 s. Requests that are due in the outage wait for its end.
func outage(changed time.Time) *watched {
	w := &watched{old: "v1", changed: changed}
	for ms := -5000; ms < 12000; ms += 10 {
		due := changed.Add(time.Duration(ms) * time.Millisecond)
		r := load.Request{Began: due, Ended: due.Add(2 * time.Millisecond), Version: "v1"}
		switch {
		case ms == 6000 || ms < 1000:
		case ms < 4000:
			r.Version, r.Ended = "v2", changed.Add(4*time.Second)
		default:
			r.Version = "v2"
		}
		w.add(ms/10&1, r)
	}
	return w
}

func TestAnOutageIsSeenAsItWas(t *testing.T) {
	s := outage(time.Now()).stop()
	for what, test := range map[string]struct{ got, want, within float64 }{
		"silence":       {s.Silence, 3, 0.02},
		"first new":     {s.FirstNew, 4, 0.01},
		"only new":      {s.OnlyNew, 6.012, 0.01}, // after the old one at 6 s
		"p50 before":    {s.Before[0], 2, 0.1},
		"p99.9 before":  {s.Before[2], 2, 0.1},
		"p50 during":    {s.During[0], 2, 1},
		"p99 during":    {s.During[1], 2950, 60},
		"first slot":    {s.From, -5, 0},
		"slots":         {float64(len(s.Slots)), 68, 1},
		"requests":      {float64(s.New.Requests + s.Kept.Requests), 1700, 0},
		"failed":        {float64(s.New.failed() + s.Kept.failed()), 0, 0},
		"last answers":  {float64(s.LastAnswers["v2"]), 600, 2}, // of the last 6 s
		"last old ones": {float64(s.LastAnswers["v1"]), 1, 0},
	} {
		if test.got < test.want-test.within || test.got > test.want+test.within {
			t.Errorf("%s: %v, want %v", what, test.got, test.want)
		}
	}
	before, meanwhile, later := s.Slots[19], s.Slots[28], s.Slots[50]
	if before.Old != 25 || meanwhile.Old+meanwhile.New != 0 || meanwhile.Worst < 1000 || later.New != 25 || later.Worst > 3 {
		t.Errorf("a slot before %+v, in the outage %+v and after it %+v", before, meanwhile, later)
	}
}

// What never answers anew is never over, and is told as such.
func TestAReloadThatNeverComesIsToldAsSuch(t *testing.T) {
	w := &watched{old: "v1", changed: time.Now()}
	for ms := -1000; ms < 8000; ms += 10 {
		due := w.changed.Add(time.Duration(ms) * time.Millisecond)
		w.add(0, load.Request{Began: due, Ended: due.Add(time.Millisecond), Version: "v1"})
	}
	if w.over() {
		t.Error("it is over, and the new version was never seen")
	}
	s := w.stop()
	if s.FirstNew != -1 || s.OnlyNew != -1 || s.During[0] == 0 {
		t.Errorf("first new %v, only new %v, p50 during %v", s.FirstNew, s.OnlyNew, s.During[0])
	}
	if cells := cells([]trial{{Seen: s}}); !slices.Contains(cells, "never") {
		t.Errorf("the table does not say so: %q", cells)
	}
}

func TestFailuresAreToldByWhatWasMet(t *testing.T) {
	f := failuresOf([]load.Request{
		{Retries: 1}, {},
		{Err: &net.OpError{Op: "dial", Err: unix.ECONNREFUSED}},
		{Err: fmt.Errorf("%w: EOF", load.ErrReset)},
		{Err: fmt.Errorf("read: %w", context.DeadlineExceeded)},
		{Err: errors.New("answered 500")},
	})
	if want := "**4** of 6: 1 refused, 1 reset, 1 not answered in 10 s, 1 broken"; f.String() != want || f.Again != 1 {
		t.Errorf("%q and %d sent again, want %q and 1", f, f.Again, want)
	}
}

func TestAVerdictSaysWhoAnswersInTheEnd(t *testing.T) {
	refused := failures{Requests: 100, Refused: 40}
	for want, s := range map[string]standing{
		"the old version answered throughout": {Broken: &seen{New: failures{Requests: 100}, LastAnswers: map[string]int{"v1": 60}}},
		"**the site is gone**; failed: **40** of 100: 40 refused, nobody answered for 9.0 s; it ended with code 3": {Ended: "ended with code 3",
			Broken: &seen{New: refused, Silence: 9, LastAnswers: map[string]int{"failed": 40}}},
		"the old version answers; failed: **40** of 100: 40 refused, nobody answered for 9.0 s":   {Broken: &seen{New: refused, Silence: 9, LastAnswers: map[string]int{"v1": 60}}},
		"in the end 5 of 15 failed; failed: **40** of 100: 40 refused, nobody answered for 0.0 s": {Broken: &seen{New: refused, LastAnswers: map[string]int{"v1": 10, "failed": 5}}},
	} {
		if got := s.verdict(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// What was kept is shown again: tables in their place in the page, and a picture that is
// XML.
func TestWhatWasKeptIsShown(t *testing.T) {
	dir := t.TempDir()
	o := options{results: filepath.Join(dir, "results"), page: filepath.Join(dir, "page.md"), picture: filepath.Join(dir, "picture.svg")}
	page := "Before.\n\n<!-- measured: 5 s by sleeping -->\nold\n<!-- end of 5 s by sleeping -->\n\n" +
		"<!-- measured: 40 s by sleeping -->\nof another day\n<!-- end of 40 s by sleeping -->\n\n" +
		"<!-- measured: rest -->\nold\n<!-- end of rest -->\n\nAfter.\n"
	if err := os.WriteFile(o.page, []byte(page), 0o644); err != nil {
		t.Fatal(err)
	}
	s := outage(time.Now()).stop()
	for _, e := range []entry{
		{Machine: &machine{Date: "2026-01-01"}},
		{Trial: &trial{Way: "hup", App: "5 s by sleeping", Seen: s, Peak: 100 << 20}},
		{Trial: &trial{Way: "hup", App: "5 s by sleeping", Round: 1, Seen: s, Peak: 200 << 20}},
		{Trial: &trial{Way: "rainbow-saddle", App: "5 s by sleeping", Reason: "a | b"}},
		{Standing: &standing{Way: "hup", Broken: s}},
	} {
		if err := record(o.results, e); err != nil {
			t.Fatal(err)
		}
	}
	r, err := readResults(o.results)
	if err != nil {
		t.Fatal(err)
	}
	if !r.tried(ways[0], application{"sleeping", 5 * time.Second}, 1) || r.tried(ways[0], application{"computing", 5 * time.Second}, 1) {
		t.Error("it is not known which trials there were")
	}
	if err := r.show(o); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(o.page)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Before.", "After.", "of another day", "2026-01-01", "| 0 of 1700 |", "150 (100–200) MB", `did not run: a \| b`, "3.01 s"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the page has no %q:\n%s", want, text)
		}
	}
	if strings.Contains(string(text), "old\n") {
		t.Error("the page still has what was there")
	}
	picture, err := os.Open(o.picture)
	if err != nil {
		t.Fatal(err)
	}
	defer picture.Close()
	for parts := xml.NewDecoder(picture); ; {
		if _, err := parts.Token(); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

func TestATableHasAPlaceOrItIsAnError(t *testing.T) {
	page := filepath.Join(t.TempDir(), "page.md")
	if err := os.WriteFile(page, []byte("nothing"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := putInto(page, "5 s by sleeping", "text"); err == nil {
		t.Error("no error")
	}
	results := filepath.Join(filepath.Dir(page), "results")
	if err := run(t.Context(), options{page: page, results: results, apps: []application{{"sleeping", 5 * time.Second}}}); err == nil {
		t.Error("no error before anything is measured")
	}
	if _, err := os.Stat(results); err == nil {
		t.Error("it has measured, and cannot show what")
	}
}

// What stablehand is to reach is told of medians, beside a site that was let be.
func TestGoalsAreToldBesideASiteThatWasLetBe(t *testing.T) {
	const app = "5 s by sleeping"
	of := func(way string, silence, onlyNew, start float64) trial {
		return trial{Way: way, App: app, Start: start, Seen: &seen{Silence: silence, OnlyNew: onlyNew}}
	}
	r := &results{trials: []trial{
		of("none", 0.1, -1, 5.5), of("none", 0.2, -1, 6), of("none", 0.9, -1, 6.5),
		of("usr2", 0.3, 6.5, 0), of("bind", 0.34, 7.4, 0), {Way: "bind", App: app, Reason: "it did not start"},
		of("hup", 5, 5, 0),
	}}
	var b strings.Builder
	r.goals(&b, app)
	for _, want := range []string{"| 1.5 × | 1.5 × | **1.7 ×** |", "beyond the 6.00 s", "| 0.55 s | 0.50 s | **1.40 s** |"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("there is no %q in\n%s", want, b.String())
		}
	}
	r.trials[3].Seen.OnlyNew = -1
	b.Reset()
	if r.goals(&b, app); !strings.Contains(b.String(), "| **never** |") {
		t.Errorf("what was never reached is not told as such:\n%s", b.String())
	}
	b.Reset()
	if r.goals(&b, "40 s by sleeping"); b.Len() > 0 {
		t.Errorf("there is none to compare with, and it says %s", b.String())
	}
}

// Each way's key is one word of -ways, and names it.
func TestKeysAreDistinct(t *testing.T) {
	for i, w := range ways {
		if slices.Contains(keysOf(ways[:i]), w.key) || strings.ContainsAny(w.key, ", ") {
			t.Errorf("key %q", w.key)
		}
	}
}

// What was seen of many sites of one way is told as a sum, and what stablehand took by
// medians, so that one look more or less says nothing.
func TestManyHandoffsAreToldAsASum(t *testing.T) {
	s := stretch{Way: "sync/BIND", Handoffs: 50, New: failures{Requests: 600, Reset: 1}, Kept: failures{Requests: 400, Again: 3}}
	for i := range 7 {
		s.Weights = append(s.Weights, weight{Files: 20 + i, Threads: 9, Goroutines: 17, Anonymous: 4000})
	}
	s.Weights[3].Goroutines = 90
	text := longTable([]stretch{s, {Way: "sync/USR2", Handoffs: 1, Weights: s.Weights[:1]},
		{Way: "gevent/USR2", New: failures{Requests: 5}, Weights: s.Weights}, {Way: "uvloop/USR2", Handoffs: 1, New: failures{Requests: 9, Reset: 9}, Weights: s.Weights}, s})
	for _, want := range []string{
		"| sync/BIND | 100 | **2** of 1200: 2 reset | 0 of 800 | 6 | 22 → 24 | 9 → 9 | 17 → 17 | 4000 → 4000 kB |",
		"| sync/USR2 | 1 | 0 of 0 | 0 of 0 | 0 | 20 → 20 |",
		"In all, with BIND: failed **2** of 2000: 2 reset, over 100 handoffs. By USR2, without uvicorn's and dirty workers: failed 0 of 5, over 1 handoffs.",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("there is no %q in\n%s", want, text)
		}
	}
}

// All classes hand over both ways, and the first one in one go, too; what is asked for and
// is none of them is an error.
func TestCoursesAreAllClassesBothWays(t *testing.T) {
	o := options{handoffs: 20, requests: 100, marathon: 1000, every: time.Millisecond}
	all := courses(o)
	if len(all) != 2*len(classes)+2 {
		t.Errorf("%d courses", len(all))
	}
	keys := map[string]course{}
	for _, c := range all {
		keys[c.key] = c
	}
	if len(keys) != len(all) {
		t.Errorf("two have the same key: %v", keys)
	}
	if c := keys["asyncio/USR2"]; c.handoffs != 20 || c.requests != 100 || c.stretch != 20 || c.every != o.every {
		t.Errorf("%+v", c)
	}
	if c := keys["sync/BIND"+inOneGo]; c.handoffs != 1000 || c.stretch != 1000 || c.every != unhurried || len(c.vars) != 1 {
		t.Errorf("%+v", c)
	}
	o.longWays, o.results = "sync/BIND,synk/USR2", filepath.Join(t.TempDir(), "results")
	if err := runLong(t.Context(), o); err == nil || !strings.Contains(err.Error(), "synk/USR2") {
		t.Errorf("%v", err)
	}
}
