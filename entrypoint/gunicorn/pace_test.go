package gunicorn

import (
	"testing"
	"testing/synctest"
	"time"
)

// sight is what a look at a master shows at a moment.
type sight struct {
	at       time.Duration
	handlers bool
	forked   bool
	files    int
	workers  int
	lost     int
}

func TestPaceIsLearned(t *testing.T) {
	const s = time.Second
	for name, test := range map[string]struct {
		looks []sight
		over  time.Duration // after the last look
	}{
		"at once":                       {[]sight{{0, true, false, 0, 0, 0}, {s / 50, true, true, 1, 1, 0}, {s / 10, true, true, 2, 2, 0}}, settled},
		"a first worker that came late": {[]sight{{0, true, false, 0, 0, 0}, {6 * s, true, true, 1, 1, 0}}, 9 * s},
		"a first worker that came late, and within a look": {
			[]sight{{0, true, false, 0, 0, 0}, {6 * s, true, true, 0, 1, 0}, {6*s + s/50, true, false, 1, 1, 0}}, 9 * s},
		"a second that did not": {
			[]sight{{0, true, false, 0, 0, 0}, {6 * s, true, true, 1, 1, 0}, {6*s + s/10, true, true, 2, 2, 0}}, settled},
		"a load before the handlers": {[]sight{{0, false, false, 0, 0, 0}, {6 * s, true, true, 1, 1, 0}}, settled},
		"pre_fork, which shows": {
			[]sight{{0, true, false, 1, 0, 0}, {6 * s, true, true, 2, 1, 0}, {12 * s, true, true, 2, 2, 0}}, settled},
		"workers that come late": {
			[]sight{{0, true, true, 1, 1, 0}, {2 * s, true, true, 2, 2, 0}, {6 * s, true, true, 3, 3, 0}}, 6 * s},
		"one in another's place": {
			[]sight{{0, true, true, 2, 2, 0}, {30 * s, true, false, 1, 1, 0}, {30*s + s/10, true, true, 2, 2, 0}}, 0},
		"one in the place of one that was lost": {
			[]sight{{0, true, true, 2, 2, 0}, {30 * s, true, false, 1, 1, 1}, {30 * s, true, true, 2, 2, 1}}, settled},
		"one that is not replaced": {
			[]sight{{0, true, true, 2, 2, 0}, {30 * s, true, true, 2, 2, 0}, {30*s + s/50, true, false, 1, 1, 0}}, settledBelow - s/50},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var p pace
				last := sight{}
				for _, l := range test.looks {
					time.Sleep(l.at - last.at)
					p.look(l.handlers, l.forked, l.files, Workers{All: l.workers, Lost: l.lost})
					last = l
				}
				if test.over > 0 {
					time.Sleep(test.over - time.Millisecond)
					if p.over(settled) {
						t.Errorf("over before %v", test.over)
					}
					time.Sleep(time.Millisecond)
				}
				if !p.over(settled) {
					t.Errorf("not over after %v", test.over)
				}
			})
		})
	}
}
