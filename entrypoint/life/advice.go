package life

import (
	"errors"
	"fmt"
	"strings"

	"github.com/stablehand/stablehand/entrypoint/status"
)

// advice is what can be done about a generation that has not come up, or has
// ended; empty where the reason itself says it. lines says where gunicorn's own
// stand, see linesOf.
func advice(err error, lines string) string {
	var advised interface {
		error
		Advice(lines string) string
	}
	var starved interface {
		error
		OutOfMemory() bool
	}
	switch {
	case toldBySomebody(err):
		return whoTells
	case errors.As(err, &starved) && starved.OutOfMemory():
		return whenKilled
	case errors.Is(err, errExits):
		return "look for sys.exit(), exit() or the like in what is loaded"
	case errors.As(err, &advised):
		return advised.Advice(lines)
	case errors.Is(err, errNotReady):
		return "see " + lines + "; if it only needs longer, raise STABLEHAND_READY_TIMEOUT"
	}
	return ""
}

// whoTells is what can be done where somebody else has told gunicorn to end.
const whoTells = "see who sends it TERM, INT or QUIT: an init between stablehand and gunicorn, which may do so to all that it has started, is better left out"

// toldBySomebody says, of a generation that nobody here has told to end, whether
// somebody else has: gunicorn ends with 0 only then, or where what it loads has Python
// end.
func toldBySomebody(err error) bool {
	code, ended := exitCode(err)
	return ended && code == 0 && !errors.Is(err, errExits)
}

// errExits is why a successor has ended with 0 that had no worker yet.
var errExits = errors.New("the configuration or the application has it end as it is loaded")

// linesOf says where gunicorn's lines stand: in the log above, or in a file of
// the first of some generations of which one is known. Which of its lines come to
// a file nobody but gunicorn knows: what is wrong with its configuration never does.
func linesOf(generations ...*generation) string {
	const most = 3 // an application may log to any number of files
	for _, g := range generations {
		if g == nil {
			continue
		}
		if logs := g.Logs(); len(logs) > 0 {
			return "gunicorn's lines above or in " + strings.Join(logs[:min(len(logs), most)], " or ")
		}
	}
	return "gunicorn's lines above"
}

// advise is what can be done about a successor that was rolled back, and what its
// failure means for the generation that serves on.
func (l *Life) advise(err error) string {
	do := advice(err, linesOf(l.now.successor, l.serving))
	if do == "" {
		return ""
	}
	return do + l.meaning(err)
}

// meaning is what follows from the failure of a successor, as far as it is known.
func (l *Life) meaning(err error) string {
	const meets = "look for what a second gunicorn meets and the first did not: an address or a lock that is taken, a relative path after --chdir"
	itself, unready := failed(err), errors.Is(err, errNotReady) || errors.As(err, new(lost))
	moved := l.disk != l.now.disk // nobody knows which content has failed, nor what a worker would read now
	switch {
	case l.step.name == status.Probe && !moved && unready && !l.serving.Preloads() && l.serving.content != l.disk:
		return "; until then a worker that gunicorn replaces (max_requests, a timeout) may answer so as well" + unlessPreloaded
	case l.step.name != status.Warm || moved || !itself && !unready:
		return ""
	case l.settings.Watched && l.disk != Content{} && l.serving.content == l.disk:
		return fmt.Sprintf("; what is watched is as generation %d has read it: %s, or for what has changed and is not watched", l.serving.number, meets)
	case l.threatens(err):
		return ending(err) + unlessPreloaded
	case itself && l.counts.handoffs[status.HandedOff] == 0:
		return "; if the change is right, no handoff has succeeded yet: " + meets
	}
	return ""
}

const unlessPreloaded = ", unless the application is preloaded (--preload)"

// ending is what may come of a worker that is replaced: it has its master's
// configuration, and loads what is on disk. gunicorn ends with one that fails.
func ending(err error) string {
	switch {
	case failed(err):
		return "; until then a worker that gunicorn replaces (max_requests, a timeout) may fail as well, and that ends the site"
	case errors.As(err, new(lost)):
		return "; until then each worker that gunicorn replaces (max_requests, a timeout) may fail as well, until none is left that answers"
	}
	return "; a worker that gunicorn replaces (max_requests, a timeout) may hang as well"
}

// threatens says whether a worker of the serving generation that is replaced
// before the change is mended will load what the successor could not load. Where the
// application is preloaded no worker loads anything, and it has failed before there
// were any.
func (l *Life) threatens(err error) bool {
	w := l.step.workers
	return !l.serving.Preloads() && (byWorker(err) || w.All > 0 && w.Ready == 0)
}

// failed says whether a master has ended by itself, and not well.
func failed(err error) bool {
	code, ended := exitCode(err)
	return ended && code != 0 && code < 128 // above is a signal's
}

// byWorker says whether a master has ended of a worker that could not load the
// application.
func byWorker(err error) bool {
	var exit interface {
		error
		ByWorker() bool
	}
	return errors.As(err, &exit) && exit.ByWorker()
}

// adviseEnded is what can be done about a serving generation that has ended.
func adviseEnded(g *generation) string {
	err := g.Ended()
	do := advice(err, linesOf(g))
	if byWorker(err) && !g.Preloads() {
		do += ", which a worker met that gunicorn had replaced; with --preload it would have loaded nothing"
	}
	return do
}

// adviseLost is what can be done about a handoff after which nothing serves.
func (l *Life) adviseLost(err error) string {
	if l.serving.number == l.now.From && byWorker(l.serving.Ended()) {
		return adviseEnded(l.serving)
	}
	return advice(err, linesOf(l.now.successor, l.serving))
}
