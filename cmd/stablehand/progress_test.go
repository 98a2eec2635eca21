package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stablehand/stablehand/entrypoint/status"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// after is a moment that many seconds after noon.
func after(seconds float64) time.Time {
	return noon.Add(time.Duration(seconds * float64(time.Second)))
}

// handoffs are the states of one handoff, each with the second after noon at
// which it was told.
var handoffs = []struct {
	at float64
	h  status.Handoff
}{
	{0.1, status.Handoff{Step: "wait", WaitsFor: "the handoff to generation 2", Since: after(0.1)}},
	{2, status.Handoff{Generation: 3, From: 2, Began: after(2), Step: "spawn", Since: after(2)}},
	{2.04, status.Handoff{Generation: 3, From: 2, Began: after(2), Step: "warm", Since: after(2.04),
		Steps: []status.Done{{Step: "spawn", Took: 0.04}}}},
	{5, status.Handoff{Generation: 3, From: 2, Began: after(2), Step: "warm", Since: after(2.04),
		Steps: []status.Done{{Step: "spawn", Took: 0.04}}, Successor: status.Workers{All: 8, Ready: 3}}},
	{6, status.Handoff{Generation: 3, From: 2, Began: after(2), Step: "soak", Since: after(6),
		Steps: []status.Done{{Step: "spawn", Took: 0.04}, {Step: "warm", Took: 3.96}}, Successor: status.Workers{All: 8, Ready: 8}}},
	{66, status.Handoff{Generation: 3, From: 2, Began: after(2), Step: "retire", Since: after(66),
		Steps: []status.Done{{Step: "spawn", Took: 0.04}, {Step: "warm", Took: 3.96}, {Step: "soak", Took: 60}}, Successor: status.Workers{All: 8, Ready: 8}}},
	// The promotion's beginning was not told: it was read too slowly.
	{70, status.Handoff{Generation: 3, From: 2, Began: after(2), Step: "promote", Since: after(68),
		Steps:     []status.Done{{Step: "spawn", Took: 0.04}, {Step: "warm", Took: 3.96}, {Step: "soak", Took: 60}, {Step: "retire", Took: 2}, {Step: "promote", Took: 1.5}},
		Successor: status.Workers{All: 8, Ready: 8}, Outcome: status.HandedOff, Took: 67.5}},
}

func TestAProbeHasALineToo(t *testing.T) {
	var out bytes.Buffer
	p := newProgress(&out, 0, noon)
	h := status.Handoff{Generation: 3, From: 2, Began: after(2), Step: "probe", Since: after(3), Steps: []status.Done{{Step: "warm", Took: 1}}}
	p.told(h, after(3))
	if got := doing(h); got != "probing" {
		t.Errorf("%q before there is an answer", got)
	}
	h.Probe = "503 Service Unavailable, once"
	p.told(h, after(4))
	p.tick(p.spoken.Add(stillPace))
	h.Step, h.Since, h.Probe = "soak", after(20), ""
	h.Steps = append(h.Steps, status.Done{Step: "probe", Took: 17})
	p.told(h, after(20))
	p.leave()
	for _, line := range []string{"still at it: probing, so far 503 Service Unavailable, once\n", "probe     17.0s  probe answered\n"} {
		if !strings.Contains(out.String(), line) {
			t.Errorf("%q is not in\n%s", line, out.String())
		}
	}
}

func TestEachStepHasALine(t *testing.T) {
	var out bytes.Buffer
	p := newProgress(&out, 0, noon)
	for _, told := range handoffs {
		p.told(told.h, after(told.at))
	}
	p.leave()
	want := `waiting for the handoff to generation 2 to end
handoff from generation 2 to 3
spawn     0.04s  successor started
warm      3.96s  workers ready 8 of 8
soak      1m00s  soaked
retire    2.00s  old retired
promote   1.50s  successor promoted
done      1m08s  generation 3 serves
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
}

// Nobody is left without a word for longer than stillPace.
func TestLongStepsAreSaidToGoOn(t *testing.T) {
	var out bytes.Buffer
	p := newProgress(&out, 0, noon)
	for _, told := range append(handoffs[:4:4], struct {
		at float64
		h  status.Handoff
	}{40, handoffs[4].h}) {
		for p.spoken.Before(after(told.at - 10)) {
			p.tick(p.spoken.Add(stillPace))
		}
		p.told(told.h, after(told.at))
	}
	want := `waiting for the handoff to generation 2 to end
handoff from generation 2 to 3
spawn     0.04s  successor started
warm      10.0s  still at it: workers ready 3 of 8
warm      20.0s  still at it: workers ready 3 of 8
warm      30.0s  still at it: workers ready 3 of 8
warm      3.96s  workers ready 8 of 8
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
}

func TestATerminalShowsOneLineThatChanges(t *testing.T) {
	var out bytes.Buffer
	p := newProgress(&out, 80, noon)
	p.tick(noon)
	for _, told := range handoffs {
		p.told(told.h, after(told.at))
		if !told.h.Over() {
			p.tick(after(told.at + 1))
		}
	}
	p.leave()
	want := []string{
		"asking for a handoff  0.0s",
		"waiting for the handoff to generation 2 to end  0.0s",
		"waiting for the handoff to generation 2 to end  1.0s",
		"generation 3: starting the successor  0.0s, 0.0s in all",
		"generation 3: starting the successor  1.0s, 1.0s in all",
		"generation 3: successor started, no workers yet  0.0s, 0.0s in all",
		"generation 3: successor started, no workers yet  1.0s, 1.0s in all",
		"generation 3: workers ready 3 of 8  3.0s, 3.0s in all",
		"generation 3: workers ready 3 of 8  4.0s, 4.0s in all",
		"generation 3: soaking  0.0s, 4.0s in all",
		"generation 3: soaking  1.0s, 5.0s in all",
		"generation 3: old retiring  0.0s, 1m04s in all",
		"generation 3: old retiring  1.0s, 1m05s in all",
		"done in 1m08s, generation 3 serves: spawn 0.04s, warm 3.96s, soak 1m00s, retire 2.00s, promote 1.50s",
	}
	drawn := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\r")[1:]
	longest := 0
	for i, line := range drawn {
		if len(line) < longest {
			t.Errorf("%q does not wipe the line before it", line)
		}
		drawn[i] = strings.TrimRight(line, " ")
		longest = len(drawn[i])
	}
	if diff := cmp.Diff(want, drawn); diff != "" {
		t.Error(diff)
	}
}

func TestALineIsCutToTheTerminal(t *testing.T) {
	var out bytes.Buffer
	p := newProgress(&out, 20, noon)
	p.told(handoffs[4].h, after(7))
	if out.String() != "\rgeneration 3: soaki" {
		t.Errorf("drawn is %q", out.String())
	}
}

func TestTimesAreReadable(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second:                            "0.00s",
		43 * time.Millisecond:                   "0.04s",
		9999 * time.Millisecond:                 "10.0s",
		59990 * time.Millisecond:                "1m00s",
		12345 * time.Millisecond:                "12.3s",
		2*time.Minute + 5*time.Second:           "2m05s",
		3*time.Hour + 59*time.Minute:            "3h59m",
		51*time.Hour + 30*time.Minute:           "2d03h",
		59*time.Minute + 59500*time.Millisecond: "1h00m",
	} {
		if got := span(d); got != want {
			t.Errorf("%v is %q, want %q", d, got, want)
		}
	}
}
