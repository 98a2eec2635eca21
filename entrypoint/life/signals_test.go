package life_test

import (
	"cmp"
	"context"
	"log/slog"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stablehand/stablehand/entrypoint/life"
)

// all are the signals that the table knows; SIGCONT stands for any that means
// nothing to us.
var all = []life.Signal{
	life.TERM, life.INT, life.QUIT, life.HUP, life.USR2, life.USR1, life.TTIN, life.TTOU,
	life.WINCH, life.CHLD, life.URG, life.PIPE, "SIGCONT", "signal 40",
}

// state is one in which a signal may come: so long after the start, with a change
// or a TERM on the way.
type state struct {
	name    string
	after   time.Duration // the start the signal comes
	change  bool          // 11 s after the start
	term    bool          // 11 s after the start
	said    string        // the signal comes as soon as the log has said this, after that
	special func(*world)  // what else is special
	want    map[life.Signal]string
}

// same makes a row of several signals.
func same(want string, signals ...life.Signal) map[life.Signal]string {
	row := map[life.Signal]string{}
	for _, sig := range signals {
		row[sig] = want
	}
	return row
}

func rows(rows ...map[life.Signal]string) map[life.Signal]string {
	all := map[life.Signal]string{}
	for _, row := range rows {
		for sig, want := range row {
			all[sig] = want
		}
	}
	return all
}

// states is the table. A generation loads for 10 s, soaks for 10 s and takes 10 s
// to finish; where it is asked it takes 8 s to answer. What happens is told in words: the signal "to 1" is one to the master
// of generation 1, "later" what was kept until then. A signal that is not in a
// row does nothing.
var states = []state{
	{
		name: "no master yet", after: time.Second,
		special: func(w *world) { w.command.after = 5 * time.Second },
		want: rows(
			same("to command", life.TERM, life.INT, life.QUIT, "SIGCONT", "signal 40"),
			same("later handoff", life.HUP, life.USR2),
			same("later to 1", life.USR1, life.TTIN, life.TTOU)),
	},
	{
		name: "clearly no gunicorn", after: 31 * time.Second,
		special: func(w *world) { w.command.after, w.command.named = -1, false },
		want: same("to command", life.TERM, life.INT, life.QUIT, life.HUP, life.USR2, life.USR1, life.TTIN, life.TTOU,
			"SIGCONT", "signal 40"),
	},
	{
		name: "generation 1 warms", after: 3 * time.Second,
		want: rows(
			same("to 1, to command", life.TERM, life.QUIT, "SIGCONT", "signal 40"),
			same("to 1, to 1, to command", life.INT), // once more, when gunicorn handles it
			same("later handoff", life.HUP, life.USR2),
			same("later to 1", life.USR1, life.TTIN, life.TTOU)),
	},
	{
		name: "generation 1 warms, and its command has ended", after: 3 * time.Second,
		special: func(w *world) { w.command.ends = true },
		want: rows(
			same("to 1", life.TERM, life.QUIT, "SIGCONT", "signal 40"),
			same("to 1, to 1", life.INT),
			same("later handoff", life.HUP, life.USR2),
			same("later to 1", life.USR1, life.TTIN, life.TTOU)),
	},
	{
		name: "serving", after: 15 * time.Second,
		want: rows(
			same("to 1", life.TERM, life.INT, life.QUIT, life.USR1, life.TTIN, life.TTOU, "SIGCONT", "signal 40"),
			same("handoff", life.HUP, life.USR2)),
	},
	{
		name: "a successor warms", after: 15 * time.Second, change: true,
		want: rows(
			same("to 1, to 2", life.TERM, life.INT, life.QUIT, life.USR1, "SIGCONT", "signal 40"),
			same("to 1", life.TTIN, life.TTOU),
			same("later handoff", life.HUP, life.USR2)),
	},
	{
		name: "a successor warms that has lost a worker", after: 16 * time.Second, change: true,
		special: func(w *world) { w.fate.load, w.fate.drops = 9*time.Second, 1 },
		want: rows(
			same("to 1, to 2", life.TERM, life.INT, life.QUIT, life.USR1, "SIGCONT", "signal 40"),
			same("to 1", life.TTIN, life.TTOU),
			same("handoff", life.HUP, life.USR2)), // it gives way
	},
	{
		name: "generation 1 is asked", after: 17 * time.Second,
		special: func(w *world) { w.fate.answers = 8 * time.Second },
		want: rows(
			same("to 1, to command", life.TERM, life.QUIT, "SIGCONT", "signal 40"),
			same("to 1, to 1, to command", life.INT),
			same("later handoff", life.HUP, life.USR2),
			same("later to 1", life.USR1, life.TTIN, life.TTOU)),
	},
	{
		name: "a successor is asked", after: 30 * time.Second, change: true,
		special: func(w *world) { w.fate.answers = 8 * time.Second },
		want: rows(
			same("to 1, to 2", life.TERM, life.INT, life.QUIT, life.USR1, "SIGCONT", "signal 40"),
			same("later to 2", life.TTIN, life.TTOU), // it would be taken for a failure
			same("later handoff", life.HUP, life.USR2)),
	},
	{
		name: "a successor is asked, and the serving master has ended", after: 30 * time.Second, change: true,
		special: func(w *world) {
			w.fate.answers = 8 * time.Second
			time.AfterFunc(30*time.Second-time.Millisecond, w.strikeFirst)
		},
		want: rows(
			same("to 2", life.TERM, life.INT, life.QUIT, life.USR1, "SIGCONT", "signal 40"),
			same("later to 2", life.TTIN, life.TTOU),
			same("later handoff", life.HUP, life.USR2)),
	},
	{
		name: "a successor has just become ready", after: 15 * time.Second, change: true, said: "warmed",
		want: rows(
			same("to 1, to 2", life.TERM, life.INT, life.QUIT, life.USR1, "SIGCONT", "signal 40"),
			same("later to 2", life.TTIN, life.TTOU),
			same("later handoff", life.HUP, life.USR2)),
	},
	{
		name: "a successor has just been steered to", after: 15 * time.Second, change: true, said: "steered",
		special: func(w *world) { w.apart = true },
		want: rows(
			same("to 1, to 2", life.TERM, life.INT, life.QUIT, life.USR1, "SIGCONT", "signal 40"),
			same("later to 2", life.TTIN, life.TTOU),
			same("later handoff", life.HUP, life.USR2)),
	},
	{
		name: "a successor soaks", after: 25 * time.Second, change: true,
		want: rows(
			same("to 1, to 2", life.TERM, life.INT, life.QUIT, life.USR1, "SIGCONT", "signal 40"),
			same("later to 2", life.TTIN, life.TTOU), // it would be taken for a failure
			same("later handoff", life.HUP, life.USR2)),
	},
	{
		name: "a successor that soaked is rolled back", after: 30 * time.Second, change: true,
		special: func(w *world) { w.fate.loses = 5 * time.Second },
		want: rows(
			same("to 1, to 2", life.TERM, life.USR1, "SIGCONT", "signal 40"),
			same("to 1, to 2, to the workers of 2", life.INT, life.QUIT), // it has got TERM, and may not listen
			same("later to 1", life.TTIN, life.TTOU),
			same("later handoff", life.HUP, life.USR2)),
	},
	{
		name: "a successor that soaked was rolled back", after: 45 * time.Second, change: true,
		special: func(w *world) { w.fate.loses = 5 * time.Second },
		want: rows(
			same("to 1", life.TERM, life.INT, life.QUIT, life.USR1, life.TTIN, life.TTOU, "SIGCONT", "signal 40"),
			same("handoff", life.HUP, life.USR2)),
	},
	{
		name: "a successor warms, and the serving master has ended", after: 15 * time.Second, change: true,
		special: func(w *world) { time.AfterFunc(14*time.Second, w.strikeFirst) },
		want: rows(
			same("to 2", life.TERM, life.INT, life.QUIT, life.USR1, "SIGCONT", "signal 40"),
			same("later handoff", life.HUP, life.USR2)),
	},
	{
		name: "the old generation retires", after: 35 * time.Second, change: true,
		want: rows(
			same("to 1, to 2", life.TERM, life.USR1, "SIGCONT", "signal 40"),
			same("to 1, to 2, to the workers of 1", life.INT, life.QUIT), // it has got TERM, and may not listen
			same("to 2", life.TTIN, life.TTOU),
			same("later handoff", life.HUP, life.USR2)),
	},
	{
		name: "stop delay", after: 15 * time.Second, term: true,
		special: func(w *world) { w.settings.StopDelay = time.Hour },
		want:    same("to 1", life.TERM, life.INT, life.QUIT, life.USR1, life.TTIN, life.TTOU, "SIGCONT", "signal 40"),
	},
	{
		name: "stop delay is over", after: 15 * time.Second, term: true,
		special: func(w *world) { w.settings.StopDelay = 2 * time.Second },
		want: rows(
			same("to 1, to the workers of 1", life.INT, life.QUIT),
			same("to 1", life.USR1, life.TTIN, life.TTOU, "SIGCONT", "signal 40")),
	},
	{
		name: "stopping, and no master yet", after: 15 * time.Second, term: true,
		special: func(w *world) { w.command.after, w.command.ignores = -1, true },
		want:    same("to command", life.TERM, life.INT, life.QUIT, "SIGCONT", "signal 40"),
	},
	{
		name: "stopping", after: 15 * time.Second, term: true,
		want: rows(
			same("to 1, to the workers of 1", life.INT, life.QUIT),
			same("to 1", life.USR1, life.TTIN, life.TTOU, "SIGCONT", "signal 40")),
	},
}

// TestSignals is the table: which signal does what in which state.
func TestSignals(t *testing.T) {
	for _, s := range states {
		for _, sig := range all {
			t.Run(s.name+"/"+string(sig), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					got, story := s.send(sig)
					if want := s.want[sig]; got != want {
						t.Errorf("%s: %q, want %q\n%s", sig, got, want, strings.Join(story, "\n"))
					}
				})
			})
		}
	}
}

// send lives until the signal comes, and tells what became of it.
func (s state) send(sig life.Signal) (what string, story []string) {
	w := newWorld(1)
	w.settings = life.Settings{ReadyTimeout: 30 * time.Second, Soak: 10 * time.Second}
	w.fate = &fate{load: 10 * time.Second, finish: 10 * time.Second, workers: 2}
	w.command = &command{process: process{w: w, pid: 999, done: make(chan struct{})}, named: true}
	if s.special != nil {
		s.special(w)
	}
	signals, changes := make(chan life.Signal), make(chan life.Change)
	heard := make(chan struct{})
	stands := life.World{Log: slog.New(overhearing{w, s.said, sync.OnceFunc(func() { close(heard) })}), Teller: w, Host: w}
	if w.apart {
		stands.Starter = w
	}
	if w.fate.answers > 0 {
		w.probes, stands.Prober = true, w
	}
	l := life.New(w.settings, stands, life.Content{1})
	ended := make(chan int, 1)
	go func() { ended <- l.Run(w.command, nil, signals, changes) }()
	const event = 11 * time.Second
	if s.change || s.term {
		time.Sleep(event)
	}
	if s.change {
		changes <- life.Change{Content: life.Content{2}}
	}
	if s.term {
		w.stop()
		signals <- life.TERM
	}
	time.Sleep(s.after - time.Since(w.begun))
	if s.said == "" {
		close(heard)
	}
	what = w.became(sig, heard, signals)
	if _, over := w.end(signals, ended); !over {
		what += ", and no end"
	}
	close(w.over)
	return what, w.story
}

// overhearing is the world's log, and does something when a text is said.
type overhearing struct {
	*world
	text string
	do   func()
}

func (o overhearing) Handle(ctx context.Context, r slog.Record) error {
	err := o.world.Handle(ctx, r)
	if r.Message == o.text {
		o.do()
		runtime.Gosched() // and so whoever waits for it comes before what the loop does next
	}
	return err
}

// became sends a signal when it is time, and tells what becomes of it, at once and later.
func (w *world) became(sig life.Signal, when <-chan struct{}, signals chan<- life.Signal) string {
	if sig == life.TERM || sig == life.INT || sig == life.QUIT {
		w.stop()
	}
	synctest.Wait()
	<-when
	w.Lock()
	mark := len(w.story)
	w.Unlock()
	signals <- sig
	synctest.Wait()
	w.Lock()
	what := heard(sig, w.story[mark:])
	first := slices.IndexFunc(w.story[mark:], func(line string) bool { return strings.Contains(line, string(sig)) })
	if what != "" && what != "handoff" && strings.Contains(w.story[mark+first], " INFO ") {
		what += ", and it was told before it was done"
	}
	mark = len(w.story)
	w.Unlock()
	time.Sleep(2 * time.Minute)
	w.Lock()
	defer w.Unlock()
	if later := heard(sig, w.story[mark:]); later != "" && what == "" {
		what = "later " + later
	}
	return what
}

var toWhom = regexp.MustCompile(`s +(\S+|signal \d+) to (?:the )?(command|workers of generation \d+|generation \d+)$`)

// heard tells from a story who has got a signal, and whether a handoff began.
func heard(sig life.Signal, story []string) string {
	var list []string
	for _, line := range story {
		if found := toWhom.FindStringSubmatch(line); found != nil && found[1] == string(sig) {
			list = append(list, strings.ReplaceAll("to "+strings.Replace(found[2], "workers", "the workers", 1), "generation ", ""))
		}
		if strings.Contains(line, "INFO handoff generation=") {
			list = append(list, "handoff")
		}
	}
	slices.SortFunc(list, func(a, b string) int { return cmp.Or(len(a)-len(b), strings.Compare(a, b)) })
	return strings.Join(list, ", ")
}

// TestTheReferenceTellsOfEachSignal holds docs/reference/signals.md against the row of
// the table in which a gunicorn serves.
func TestTheReferenceTellsOfEachSignal(t *testing.T) {
	text, err := os.ReadFile("../../docs/reference/signals.md")
	if err != nil {
		t.Fatal(err)
	}
	told := map[string]string{}
	for _, row := range regexp.MustCompile(`(?m)^\| ([A-Z0-9, ]+|any other) \| (.*) \|$`).FindAllStringSubmatch(string(text), -1) {
		for name := range strings.SplitSeq(row[1], ", ") {
			told[name] = row[2]
		}
	}
	serving := states[slices.IndexFunc(states, func(s state) bool { return s.name == "serving" })]
	for _, sig := range all {
		says, named := told[strings.TrimPrefix(string(sig), "SIG")]
		if !named {
			says = told["any other"]
		}
		does := serving.want[sig]
		if says == "" || (does == "") != (says == "nothing") || (does == "handoff") != strings.HasPrefix(says, "a handoff") {
			t.Errorf("%s: %q, and the reference says %q", sig, does, says)
		}
	}
}
