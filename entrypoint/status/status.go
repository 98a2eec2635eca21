// Package status is how a container stands, as data: what package life tells of
// itself, and what package control shows to operators and machines.
//
// As JSON it only grows: fields are added, none is renamed or removed. Times are
// RFC 3339, durations seconds; what does not apply is left out. It knows nothing
// of where the figures come from, nor of how they are shown.
package status

import "time"

// Status is how things stand at one moment.
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

	// Strays are other gunicorn masters, that nobody looks after. While a handoff is
	// under way they are not looked for.
	Strays []Stray `json:"strays,omitempty"`

	// Handoff is the one under way, LastHandoff the last that ended, Next the
	// one to come.
	Handoff     *Handoff `json:"handoff,omitempty"`
	LastHandoff *Handoff `json:"last_handoff,omitempty"`
	Next        *Next    `json:"next,omitempty"`

	// InSync says whether the watched content on disk is what the serving
	// generation has read: true only where that is known, and while there are no
	// Strays. It is left out where nothing is watched, and where nobody knows and no
	// handoff is to come.
	InSync *bool `json:"in_sync,omitempty"`

	// Memory is what there was for a handoff when somebody last looked: when one began,
	// or not long before somebody asked. It is left out where nobody has, or is to.
	Memory *Memory `json:"memory,omitempty"`

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

	// Draining says that it gets nothing new, and has not been told to end yet.
	Draining bool `json:"draining,omitempty"`

	// Connections are those of clients that it holds while it drains, with those that
	// wait to be accepted. They are left out until they were counted, and of all others.
	Connections *int `json:"connections,omitempty"`

	// Probe is what PROBE has come to so far where the answer was not good, and how often:
	// of one that comes up, while it is asked.
	Probe string `json:"probe,omitempty"`
}

// Workers are those of a generation.
type Workers struct {
	All   int `json:"workers"`
	Ready int `json:"workers_ready"` // have entered their loop

	// Blind says that heartbeats cannot be read, so that Ready is not known.
	// BlindReason is why.
	Blind       bool   `json:"blind,omitempty"`
	BlindReason string `json:"blind_reason,omitempty"`
	BlindDo     string `json:"-"` // what to do about it

	// Dirty counts the dirty workers, which are not among All, and DirtyReady those of
	// them that have loaded their applications.
	Dirty      int `json:"dirty_workers,omitempty"`
	DirtyReady int `json:"dirty_workers_ready,omitempty"`

	Reloads bool `json:"-"` // gunicorn's own reloader is on, for certain

	// Lost counts those that have ended since the generation was first seen, and
	// that gunicorn did not mean to replace; OOMKilled those of them that the kernel has
	// killed for want of memory, and Exits says how they ended.
	Lost      int    `json:"workers_lost,omitempty"`
	OOMKilled int    `json:"workers_oom_killed,omitempty"`
	Exits     string `json:"exits,omitempty"`
}

// Memory is what there is of it, in bytes.
type Memory struct {
	Free   int64  `json:"free"`            // that may still be taken, before the kernel kills somebody
	Limit  string `json:"limit,omitempty"` // what sets it, and where
	Takes  int64  `json:"takes"`           // that the serving generation takes: the PSS of its processes
	Needed int64  `json:"needed"`          // that another one is taken to need

	// Guessed says that Takes may be too much: what processes share counts for each.
	Guessed bool `json:"guessed,omitempty"`
}

// Enough says whether there is enough for a second generation.
func (m Memory) Enough() bool { return m.Free >= m.Needed }

// Stray is a gunicorn master that is no generation.
type Stray struct {
	PID   int    `json:"pid"`
	Words string `json:"words"` // its command line, without what is secret
	Is    string `json:"is"`
}

// What a [Stray] is: the successor of a generation, for which somebody else has
// asked; started by a worker, or otherwise below a generation's master, so that it ends
// with that generation; or beside all of them.
const (
	StraySuccessor = "successor"
	StrayInside    = "inside"
	StrayBelow     = "below"
	StrayBeside    = "beside"
)

// Handoff is one replacement of the serving generation, under way or over.
type Handoff struct {
	Generation int       `json:"generation"`          // the successor's number; 0 until it begins
	From       int       `json:"from,omitempty"`      // the number of the one to be replaced
	Reason     string    `json:"reason,omitempty"`    // what it was begun for
	Began      time.Time `json:"began,omitzero"`      // when
	Step       Step      `json:"step"`                // where it stands; Wait until it begins
	WaitsFor   string    `json:"waits_for,omitempty"` // what is to end before it can begin: the boot or an earlier handoff
	Since      time.Time `json:"since,omitzero"`      // when the step began
	Steps      []Done    `json:"steps,omitempty"`     // those that are done
	Memory     *Memory   `json:"memory,omitempty"`    // what there was last, where it has waited for room
	Taken      int       `json:"taken,omitempty"`     // workers that the old one has given up for room
	Successor  Workers   `json:"successor"`           // as far as they have been seen to come up
	Probe      string    `json:"probe,omitempty"`     // what PROBE has come to so far in that step, where it was no good answer
	Outcome    string    `json:"outcome,omitempty"`   // empty while it is under way
	Failure    string    `json:"failure,omitempty"`   // why it did not succeed, in gunicorn's words
	Took       float64   `json:"took,omitempty"`      // seconds, once it is over
	Retry      float64   `json:"retry,omitempty"`     // seconds until it is tried again, if it is
}

// The outcomes of a [Handoff]. Stopped: a stop came before the successor served,
// or the command was found to be no gunicorn before the handoff began.
// Lost: the old generation had been told to retire, or had died, when the
// successor failed, so that nothing serves.
const (
	HandedOff  = "handed_off"
	RolledBack = "rolled_back"
	Stopped    = "stopped"
	Lost       = "lost"
)

// Outcomes are all of them.
var Outcomes = []string{HandedOff, RolledBack, Stopped, Lost}

// Over says whether the handoff has ended.
func (h Handoff) Over() bool { return h.Outcome != "" }

// Step is one of those that a boot or a handoff goes through.
type Step string

// The steps. A boot has Boot, until there is a master, and Warm and Probe; a handoff has
// all but Boot, and Wait while it has not begun. Room is among them where there is no
// memory for two generations, and it waits for that; Probe is where PROBE is set. Steer and Drain are those of
// generations with listeners of their own, which have no Promote: with these a handoff
// is over when the old generation begins to drain.
const (
	Wait    Step = "wait"
	Boot    Step = "boot"
	Room    Step = "room"
	Spawn   Step = "spawn"
	Warm    Step = "warm"
	Probe   Step = "probe"
	Steer   Step = "steer"
	Soak    Step = "soak"
	Drain   Step = "drain"
	Retire  Step = "retire"
	Promote Step = "promote"
)

// HandoffSteps are those of a handoff, in their order.
var HandoffSteps = []Step{Room, Spawn, Warm, Probe, Steer, Soak, Drain, Retire, Promote}

// Done is a step that is done, and the seconds that it took.
type Done struct {
	Step Step    `json:"step"`
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
	Handoffs    map[string]int      `json:"handoffs"` // by outcome
	Steps       map[Step]*Histogram `json:"-"`        // how long those that were done took
	Reaped      int64               `json:"reaped"`
	WatchErrors int64               `json:"watch_errors"`
}

// NotServing says why no ready generation serves; it is empty if one does.
func (s Status) NotServing() string {
	switch g := s.Serving; {
	case g == nil && s.Phase == Serving:
		return "gunicorn's master has ended"
	case g == nil && s.Successor != nil && s.Successor.Probe != "":
		return s.Phase + ": probed, so far " + s.Successor.Probe
	case g == nil:
		return s.Phase
	case g.Ready == 0 && !g.Blind:
		return "no worker is ready"
	}
	return ""
}

// NotReady says why the container is to get no new requests; it is empty if it
// is to get them.
func (s Status) NotReady() string {
	if s.Phase == Stopping {
		return s.Phase
	}
	return s.NotServing()
}
