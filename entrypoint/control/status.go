package control

import "time"

// Status is how things stand at one moment. As JSON it only grows: fields are
// added, none is renamed or removed. Times are RFC 3339, durations seconds; what
// does not apply is left out.
type Status struct {
	Version string    `json:"version"`
	PID     int       `json:"pid"` // stablehand's
	Started time.Time `json:"started"`

	// Phase is booting, until a first generation is ready, then serving, then
	// stopping, from the first signal that stops.
	Phase string `json:"phase"`

	// Serving is the generation that the container stands on; beside it may be
	// a Successor that a handoff brings up, or one that is Retiring.
	Serving   *Generation `json:"serving,omitempty"`
	Successor *Generation `json:"successor,omitempty"`
	Retiring  *Generation `json:"retiring,omitempty"`

	// Handoff is the one under way, LastHandoff the last that ended, Next the
	// one to come.
	Handoff     *Handoff `json:"handoff,omitempty"`
	LastHandoff *Handoff `json:"last_handoff,omitempty"`
	Next        *Next    `json:"next,omitempty"`

	// InSync says whether the watched content on disk is what the serving
	// generation was started with. It is left out where nothing is watched, and
	// where a running gunicorn was adopted, of which nobody knows what it has read.
	InSync *bool `json:"in_sync,omitempty"`

	Watch  []Watched `json:"watch,omitempty"`
	Totals Totals    `json:"totals"`
}

// The phases of [Status].
const (
	Booting  = "booting"
	Serving  = "serving"
	Stopping = "stopping"
)

// Generation is one gunicorn master with its workers.
type Generation struct {
	Number  int       `json:"generation"`
	PID     int       `json:"pid"`
	Started time.Time `json:"started"`        // when stablehand first saw it
	Since   time.Time `json:"since,omitzero"` // when it began to serve
	Workers
}

// Workers are those of a generation.
type Workers struct {
	All   int `json:"workers"`
	Ready int `json:"workers_ready"` // have entered their loop

	// Blind says that heartbeats cannot be read, so that Ready is not known.
	Blind bool `json:"blind,omitempty"`
}

// Handoff is one replacement of the serving generation, under way or over.
type Handoff struct {
	Generation int       `json:"generation"`          // the successor's number; 0 until it begins
	From       int       `json:"from,omitempty"`      // the number of the one to be replaced
	Reason     string    `json:"reason,omitempty"`    // what it was begun for
	Began      time.Time `json:"began,omitzero"`      // when
	Step       string    `json:"step"`                // spawn, warm, soak, retire or promote; wait until it begins
	WaitsFor   string    `json:"waits_for,omitempty"` // what is to end before it can begin: the boot or an earlier handoff
	Since      time.Time `json:"since,omitzero"`      // when the step began
	Steps      []Step    `json:"steps,omitempty"`     // those that are done
	Successor  Workers   `json:"successor"`           // as far as they have been seen to come up
	Outcome    string    `json:"outcome,omitempty"`   // empty while it is under way
	Failure    string    `json:"failure,omitempty"`   // why it did not succeed, in gunicorn's words
	Took       float64   `json:"took,omitempty"`      // seconds, once it is over
	Retry      float64   `json:"retry,omitempty"`     // seconds until it is tried again, if it is
}

// The outcomes of a [Handoff]. Stopped: a stop came before the successor served.
// Lost: the old generation had been told to retire, or had died, when the
// successor failed, so that nothing serves.
const (
	HandedOff  = "handed_off"
	RolledBack = "rolled_back"
	Stopped    = "stopped"
	Lost       = "lost"
)

// Over says whether the handoff has ended.
func (h Handoff) Over() bool { return h.Outcome != "" }

// Step is a step that is done, and the seconds that it took.
type Step struct {
	Name string  `json:"step"`
	Took float64 `json:"took"`
}

// Next is a handoff to come.
type Next struct {
	Reason string    `json:"reason"`
	At     time.Time `json:"at"` // at the earliest
}

// Watched is one of the paths in WATCH and what it leads to now.
type Watched struct {
	Path   string   `json:"path"`
	To     []string `json:"to"`
	Files  int      `json:"files"`
	Faults []string `json:"faults,omitempty"`
}

// Totals count since stablehand has started.
type Totals struct {
	Handoffs    map[string]int        `json:"handoffs"` // by outcome
	Steps       map[string]*Histogram `json:"-"`        // by step: how long those that were done took
	Reaped      int64                 `json:"reaped"`
	WatchErrors int64                 `json:"watch_errors"`
}
