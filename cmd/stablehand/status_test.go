package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stablehand/stablehand/entrypoint/status"
)

func TestStatusIsReadable(t *testing.T) {
	yes, no := true, false
	serving := &status.Generation{Number: 2, PID: 15, Started: after(-7300), Since: after(-7200), Workers: status.Workers{All: 8, Ready: 8}}
	base := status.Status{Version: "v1.0.0", PID: 1, Started: after(-90000), Phase: status.Serving, Serving: serving,
		Totals: status.Totals{Handoffs: map[string]int{status.HandedOff: 1}, Reaped: 3}}
	with := func(change func(s *status.Status)) status.Status {
		s := base
		change(&s)
		return s
	}
	for name, test := range map[string]struct {
		status status.Status
		want   string
	}{
		"nothing is watched": {base, `
SERVING

stablehand    v1.0.0, pid 1, up 1d01h
generation 2  serving, pid 15, workers ready 8 of 8, for 2h00m
since start   1 handed off, 0 rolled back, 3 zombies reaped, 0 watch errors
`},
		"others": {with(func(s *status.Status) {
			s.Strays = []status.Stray{
				{PID: 9, Words: "gunicorn other:app", Is: status.StrayBeside},
				{PID: 10, Words: "gunicorn app:app", Is: status.StraySuccessor},
			}
		}), `
SERVING; other gunicorns that are not looked after: 2

stablehand    v1.0.0, pid 1, up 1d01h
generation 2  serving, pid 15, workers ready 8 of 8, for 2h00m
stray         pid 9, runs beside: gunicorn other:app
stray         pid 10, a successor that stablehand did not ask for: gunicorn app:app
since start   1 handed off, 0 rolled back, 3 zombies reaped, 0 watch errors
`},
		"under way": {with(func(s *status.Status) {
			s.InSync = &no
			s.Successor = &status.Generation{Number: 3, PID: 40, Started: after(-3), Workers: status.Workers{All: 8, Ready: 3}}
			s.Handoff = &status.Handoff{Generation: 3, From: 2, Reason: "content changed", Began: after(-3.04), Step: "warm", Since: after(-3),
				Steps: []status.Done{{Step: "spawn", Took: 0.04}}, Successor: status.Workers{All: 8, Ready: 3}}
		}), `
SERVING; a handoff is under way

stablehand    v1.0.0, pid 1, up 1d01h
generation 2  serving, pid 15, workers ready 8 of 8, for 2h00m
generation 3  coming up, pid 40, workers ready 3 of 8, started 3.00s ago
on disk       is NOT what serves
handoff       generation 2 to 3 for 3.04s, reason: content changed
              successor started, 0.04s
              workers ready 3 of 8, for 3.00s
since start   1 handed off, 0 rolled back, 3 zombies reaped, 0 watch errors
`},
		"asked": {with(func(s *status.Status) {
			asked := "500 Internal Server Error, 12 times"
			s.Successor = &status.Generation{Number: 3, PID: 40, Started: after(-9), Workers: status.Workers{All: 8, Ready: 8}, Probe: asked}
			s.Handoff = &status.Handoff{Generation: 3, From: 2, Reason: "content changed", Began: after(-9.04), Step: "probe", Since: after(-6),
				Steps: []status.Done{{Step: "spawn", Took: 0.04}, {Step: "warm", Took: 3}}, Successor: status.Workers{All: 8, Ready: 8}, Probe: asked}
		}), `
SERVING; a handoff is under way

stablehand    v1.0.0, pid 1, up 1d01h
generation 2  serving, pid 15, workers ready 8 of 8, for 2h00m
generation 3  coming up, pid 40, workers ready 8 of 8, probed, so far 500 Internal Server Error, 12 times, started 9.00s ago
handoff       generation 2 to 3 for 9.04s, reason: content changed
              successor started, 0.04s
              workers ready 8 of 8, 3.00s
              probing, so far 500 Internal Server Error, 12 times, for 6.00s
since start   1 handed off, 0 rolled back, 3 zombies reaped, 0 watch errors
`},
		"no room": {with(func(s *status.Status) {
			s.Memory = &status.Memory{Free: 90 << 20, Limit: "memory.max of /sys/fs/cgroup", Takes: 146 << 20, Needed: 161 << 20}
			s.Handoff = &status.Handoff{Generation: 3, From: 2, Reason: "reload", Began: after(-3.04), Step: "room", Since: after(-3), Memory: s.Memory, Taken: 2}
		}), `
SERVING; a handoff is under way

stablehand    v1.0.0, pid 1, up 1d01h
generation 2  serving, pid 15, workers ready 8 of 8, for 2h00m
memory        NO ROOM for another generation: the serving generation takes 146MiB, another needs 161MiB, free are 90MiB (memory.max of /sys/fs/cgroup)
handoff       generation 2 to 3 for 3.04s, reason: reload
              waiting for memory: 90MiB free, 161MiB needed; workers of the old one taken down: 2, for 3.00s
since start   1 handed off, 0 rolled back, 3 zombies reaped, 0 watch errors
`},
		"dirty workers, and room": {with(func(s *status.Status) {
			s.Serving = &status.Generation{Number: 2, PID: 15, Started: after(-7300), Since: after(-7200), Workers: status.Workers{All: 8, Ready: 8, Dirty: 2, DirtyReady: 1}}
			s.Memory = &status.Memory{Free: 1 << 30, Limit: "memory.max of /sys/fs/cgroup", Takes: 146 << 20, Needed: 161 << 20}
		}), `
SERVING

stablehand    v1.0.0, pid 1, up 1d01h
generation 2  serving, pid 15, workers ready 8 of 8, dirty workers ready 1 of 2, for 2h00m
memory        the serving generation takes 146MiB, another needs 161MiB, free are 1024MiB (memory.max of /sys/fs/cgroup)
since start   1 handed off, 0 rolled back, 3 zombies reaped, 0 watch errors
`},
		"rolled back": {with(func(s *status.Status) {
			s.InSync = &no
			s.LastHandoff = &status.Handoff{Generation: 3, From: 2, Reason: "content changed", Began: after(-8.5), Step: "warm",
				Steps: []status.Done{{Step: "spawn", Took: 0.04}}, Outcome: status.RolledBack,
				Failure: "exit code 3 (a worker failed to boot)", Took: 0.5, Retry: 10}
			s.Next = &status.Next{Reason: "retry", At: after(2)}
			s.Watch = []status.Watched{
				{Path: "/etc/app", To: []string{"/etc/app/..2026_01_02"}, Files: 3},
				{Path: "/etc/feature", To: []string{"/etc/feature"}, Files: 1, Faults: []string{"is mounted by itself"}},
			}
		}), `
SERVING, but NOT what is on disk; the last handoff was rolled back

stablehand    v1.0.0, pid 1, up 1d01h
generation 2  serving, pid 15, workers ready 8 of 8, for 2h00m
on disk       is NOT what serves
last handoff  generation 2 to 3, reason: content changed
              ended 8.00s ago, at 2026-01-02 11:59:52
              successor started, 0.04s
              rolled back in step warm after 0.50s: exit code 3 (a worker failed to boot)
              gunicorn's own lines are in the log
next handoff  in 2.00s, reason: retry
since start   1 handed off, 0 rolled back, 3 zombies reaped, 0 watch errors
watched       /etc/app, 3 files
              is /etc/app/..2026_01_02
watched       /etc/feature, 1 file
              is mounted by itself
`},
		"retiring": {with(func(s *status.Status) {
			s.InSync = &yes
			s.Retiring = &status.Generation{Number: 1, PID: 7, Started: after(-7400), Workers: status.Workers{All: 2, Blind: true}}
			s.LastHandoff = &status.Handoff{Generation: 2, From: 1, Reason: "reload", Began: after(-7300), Step: "promote",
				Steps:     []status.Done{{Step: "spawn", Took: 0.04}, {Step: "warm", Took: 1}, {Step: "retire", Took: 2}, {Step: "promote", Took: 1.5}},
				Successor: status.Workers{All: 8, Ready: 8}, Outcome: status.HandedOff, Took: 4.54}
		}), `
SERVING

stablehand    v1.0.0, pid 1, up 1d01h
generation 1  retiring, pid 7, workers ready ? of 2, started 2h03m ago
generation 2  serving, pid 15, workers ready 8 of 8, for 2h00m
on disk       is what serves
last handoff  generation 1 to 2, reason: reload
              ended 2h01m ago, at 2026-01-02 09:58:24
              successor started, 0.04s
              workers ready 8 of 8, 1.00s
              old retired, 2.00s
              successor promoted, 1.50s
              done in 4.54s
since start   1 handed off, 0 rolled back, 3 zombies reaped, 0 watch errors
`},
	} {
		t.Run(name, func(t *testing.T) {
			defer func(was *time.Location) { time.Local = was }(time.Local)
			time.Local = time.UTC
			var out bytes.Buffer
			printStatus(&out, test.status, noon, "in the log", false)
			if diff := cmp.Diff(test.want[1:], out.String()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestTheFirstLineTellsWhatMatters(t *testing.T) {
	no := false
	one := &status.Generation{Workers: status.Workers{All: 1, Ready: 1}}
	for want, s := range map[string]status.Status{
		"BOOTING: nothing serves yet":              {Phase: status.Booting},
		"SERVING":                                  {Phase: status.Serving, Serving: one},
		"SERVING, but NOT what is on disk":         {Phase: status.Serving, Serving: one, InSync: &no},
		"NOT SERVING: gunicorn's master has ended": {Phase: status.Serving},
		"NOT SERVING: no worker is ready":          {Phase: status.Serving, Serving: &status.Generation{Workers: status.Workers{All: 1}}},
		"STOPPING, and serving still":              {Phase: status.Stopping, Serving: one},
		"STOPPING":                                 {Phase: status.Stopping},
	} {
		if got, _ := verdict(s); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestAColourTakesNoRoomOnTheScreen(t *testing.T) {
	p := palette(true)
	text := p.paint(green, strings.Repeat("é", 9)) + "\n" + p.paint(red, strings.Repeat("é", 11)) + "\n"
	if got, want := fit(text, 10, 4), p.paint(green, strings.Repeat("é", 9))+"\n"+p.paint(red, strings.Repeat("é", 9))+"\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestATextIsCutToTheScreen(t *testing.T) {
	text := "short\n" + strings.Repeat("é", 30) + "\nthird\nfourth\n"
	if got, want := fit(text, 10, 4), "short\n"+strings.Repeat("é", 9)+"\nthird\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestAFailureTellsTheStepTheTimeAndTheReason(t *testing.T) {
	for want, h := range map[string]status.Handoff{
		"rolled back in step warm after 0.43s: exit code 3 (a worker failed to boot)": {
			Generation: 2, Step: "warm", Outcome: status.RolledBack, Took: 0.433, Failure: "exit code 3 (a worker failed to boot)"},
		"failed with no way back in step retire after 12.0s: killed by SIGKILL": {
			Generation: 2, Step: "retire", Outcome: status.Lost, Took: 12, Failure: "killed by SIGKILL"},
		"stopped in step soak after 1.00s: stablehand is stopping": {
			Generation: 2, Step: "soak", Outcome: status.Stopped, Took: 1, Failure: "stablehand is stopping"},
		"stopped: stablehand is stopping": {Outcome: status.Stopped, Failure: "stablehand is stopping"},
	} {
		if got := ending(h); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
