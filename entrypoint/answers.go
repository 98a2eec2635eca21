package entrypoint

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"time"

	"github.com/stablehand/stablehand/entrypoint/control"
	"github.com/stablehand/stablehand/entrypoint/gunicorn"
	"github.com/stablehand/stablehand/entrypoint/watch"
)

// answers is the loop as package control asks it: from any goroutine.
type answers struct {
	*loop
	watcher *watch.Watcher
	options watch.Options
}

// totals count what the loop has seen.
type totals struct {
	handoffs map[string]int                // by outcome
	steps    map[string]*control.Histogram // by step
}

func newTotals() totals {
	t := totals{handoffs: map[string]int{}, steps: map[string]*control.Histogram{}}
	for _, outcome := range []string{control.HandedOff, control.RolledBack, control.Stopped, control.Lost} {
		t.handoffs[outcome] = 0
	}
	for _, step := range []string{"spawn", "warm", "soak", "retire", "promote"} {
		t.steps[step] = control.NewHistogram()
	}
	return t
}

// ask has the loop run f, and waits for it.
func (a answers) ask(ctx context.Context, f func()) error {
	ran := make(chan struct{})
	select {
	case a.notes <- func() { f(); close(ran) }:
		<-ran
		return nil
	case <-a.ended:
		return errStopping
	case <-ctx.Done():
		return errors.New("the loop does not turn")
	}
}

// Status is how things stand. The process table is read here and not by the
// loop, which it would hold up.
func (a answers) Status(ctx context.Context) (control.Status, error) {
	var s control.Status
	var there []*generation
	err := a.ask(ctx, func() { s, there = a.status(), a.generations() })
	if err != nil {
		return s, err
	}
	for _, g := range there {
		for _, shown := range []*control.Generation{s.Serving, s.Successor, s.Retiring} {
			if shown != nil && shown.Number == g.number {
				shown.Workers = workers(g.Workers())
			}
		}
	}
	s.Version = Version()
	s.Totals.Reaped, s.Totals.WatchErrors = a.reaper.Reaped(), a.watcher.Errors()
	return s, nil
}

// status is what the loop knows.
func (l *loop) status() control.Status {
	s := control.Status{
		PID: os.Getpid(), Started: l.started, Phase: l.phase(), LastHandoff: l.last,
		Serving: l.serving.shown(), Successor: l.successor.shown(), Retiring: l.retiring.shown(),
	}
	if l.now != nil {
		h := l.handoffNow()
		s.Handoff = &h
	}
	if l.wanted != nil {
		s.Next = &control.Next{Reason: l.wanted.reason, At: l.wanted.at}
	}
	if len(l.config.Watch) > 0 && l.serving != nil && (l.command != nil || l.serving.number > 1) {
		in := l.inSync()
		s.InSync = &in
	}
	s.Totals.Handoffs = maps.Clone(l.counts.handoffs)
	s.Totals.Steps = make(map[string]*control.Histogram)
	for step, h := range l.counts.steps {
		s.Totals.Steps[step] = h.Clone()
	}
	return s
}

func (l *loop) phase() string {
	switch {
	case l.stopping:
		return control.Stopping
	case l.serving == nil:
		return control.Booting
	}
	return control.Serving
}

// shown is a generation as it is shown, without its workers; nil if there is
// none that lives.
func (g *generation) shown() *control.Generation {
	if g == nil || g.Dead() {
		return nil
	}
	return &control.Generation{Number: g.number, PID: g.PID(), Started: g.seen, Since: g.since}
}

func workers(w gunicorn.Workers) control.Workers {
	return control.Workers{All: w.All, Ready: w.Ready, Blind: w.Blind}
}

// Watched is what WATCH leads to.
func (a answers) Watched() []control.Watched {
	resolved, err := watch.Resolve(a.options)
	if err != nil {
		return nil // New has refused what Resolve would
	}
	var list []control.Watched
	for _, r := range resolved {
		list = append(list, control.Watched{Path: r.Path, To: r.To, Files: r.Files, Faults: r.Faults})
	}
	return list
}

// Reload asks for a handoff.
func (a answers) Reload(ctx context.Context) (<-chan control.Handoff, error) {
	f := make(follower, 1)
	refused := error(nil)
	err := a.ask(ctx, func() {
		if a.stopping {
			refused = control.ErrNoHandoff
			return
		}
		a.log.Info("handoff asked for", "by", "reload")
		f.tell(control.Handoff{Step: "wait", Since: time.Now(), Reason: "reload", WaitsFor: a.task()})
		a.order("reload", f)
	})
	return f, errors.Join(err, refused)
}

// task is the task that runs, and ends before another handoff can begin; empty
// if there is none.
func (l *loop) task() string {
	switch {
	case l.now != nil:
		return fmt.Sprintf("the handoff to generation %d", l.now.Generation)
	case l.cancel != nil:
		return "the boot"
	}
	return ""
}
