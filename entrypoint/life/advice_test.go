package life

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stablehand/stablehand/entrypoint/status"
)

// known is a generation of which something is known.
type known struct {
	Generation
	preloads bool
	logs     []string
}

func (k known) Preloads() bool { return k.preloads }
func (k known) Logs() []string { return k.logs }

// ended is the error of a master's end, by its exit code.
type ended int

func (e ended) Error() string              { return "it has ended" }
func (e ended) ExitCode() int              { return int(e) }
func (e ended) ByWorker() bool             { return e == 3 || e == 4 }
func (e ended) Advice(lines string) string { return "mend what " + lines + " tell of" }

// errUnanswered is that of a generation that was asked in vain.
var errUnanswered = fmt.Errorf("%w: %w", errNotReady, page{})

type page struct{}

func (page) Error() string        { return "probe: 500" }
func (page) Advice(string) string { return "see the page" }

func TestAdviceClaimsNoMoreThanIsKnown(t *testing.T) {
	const (
		mend      = "mend what gunicorn's lines above tell of"
		replaced  = "; until then a worker that gunicorn replaces (max_requests, a timeout) may fail as well, and that ends the site, unless"
		the       = "; a worker that gunicorn replaces (max_requests, a timeout) may hang as well, unless"
		neverSo   = "; if the change is right, no handoff has succeeded yet: look for"
		unchanged = "; what is watched is as generation 7 has read it: look for"
	)
	read, other := Content{1}, Content{2}
	for name, test := range map[string]struct {
		err       error
		step      status.Step // warm if it is empty
		workers   status.Workers
		serving   known
		successor known
		began     Content // what is watched held this; other if it is zero
		now       Content // the same, when the handoff is over
		succeeded bool    // another handoff has, before
		want      string
		and       string // the rest, as far as it begins with this; empty for none
	}{
		"a worker failed":                     {err: ended(3), want: mend, and: replaced},
		"and the serving generation preloads": {err: ended(3), serving: known{preloads: true}, succeeded: true, want: mend},
		"several failed at once":              {err: ended(1), workers: status.Workers{All: 2}, want: mend, and: replaced},
		"some are ready":                      {err: ended(1), workers: status.Workers{All: 2, Ready: 1}, succeeded: true, want: mend},
		"before there was a worker":           {err: ended(1), succeeded: true, want: mend},
		"and no handoff has succeeded yet":    {err: ended(1), want: mend, and: neverSo},
		"killed":                              {err: ended(137), workers: status.Workers{All: 2}, want: mend},
		"ended well":                          {err: ended(0), want: whoTells},
		"while it soaked":                     {err: ended(3), step: status.Soak, want: mend},
		"nothing has changed":                 {err: ended(1), began: read, now: read, succeeded: true, want: mend, and: unchanged},
		"nor has it for a worker":             {err: ended(3), began: read, now: read, want: mend, and: unchanged},
		"the change was taken back":           {err: ended(3), now: read, want: mend},
		"it changed meanwhile":                {err: ended(1), began: read, want: mend},
		"a log of the successor's": {err: ended(137), successor: known{logs: []string{"/new", "/b"}}, serving: known{logs: []string{"/old"}},
			want: "mend what gunicorn's lines above or in /new or /b tell of"},
		"a log of the serving generation's": {err: ended(137), serving: known{logs: []string{"/old"}},
			want: "mend what gunicorn's lines above or in /old tell of"},
		"too slow": {err: errNotReady, workers: status.Workers{All: 2},
			want: "see gunicorn's lines above; if it only needs longer, raise STABLEHAND_READY_TIMEOUT", and: the},
		"without workers": {err: errNotReady, want: "see gunicorn's lines above; if it only needs longer, raise STABLEHAND_READY_TIMEOUT"},
		"another error":   {err: errors.New("no room")},
		"an answer":       {err: errUnanswered, step: status.Probe, want: "see the page", and: "; until then a worker that gunicorn replaces (max_requests, a timeout) may answer so as well, unless"},
		"an answer where the serving generation preloads": {err: errUnanswered, step: status.Probe, serving: known{preloads: true}, want: "see the page"},
		"an answer of what is as it was":                  {err: errUnanswered, step: status.Probe, began: read, now: read, want: "see the page"},
	} {
		t.Run(name, func(t *testing.T) {
			l := servingLife(Settings{Watched: true})
			l.serving = newGeneration(test.serving, 7)
			l.serving.content = read
			l.step.name, l.step.workers = status.Warm, test.workers
			if test.step != "" {
				l.step.name = test.step
			}
			if test.succeeded {
				l.counts.handoffs[status.HandedOff]++
			}
			disk := func(c Content) Content {
				if c == (Content{}) {
					return other
				}
				return c
			}
			l.now = &underway{successor: newGeneration(test.successor, 8), disk: disk(test.began)}
			l.disk = disk(test.now)
			got := l.advise(rolledBack{test.err})
			rest, begins := strings.CutPrefix(got, test.want)
			if !begins || !strings.HasPrefix(rest, test.and) || test.and == "" && rest != "" {
				t.Errorf("%q, want %q, and then %q", got, test.want, test.and)
			}
		})
	}
}
