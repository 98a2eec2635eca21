package main_test

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// zombieGrace is how long a process may be a zombie: the time between a death
// and the wait that follows it, on a busy machine.
const zombieGrace = 20 * time.Second

// cmdProcs lists the processes of a namespace, without stablehand itself.
// Where stablehand opens the sockets a handoff is over while the old generation drains:
// then that is waited for, unless there is the word -draining.
// COMM=N asserts how many live processes have that comm; some names are
// special:
//
//	masters  gunicorn processes below anything else
//	workers  gunicorn processes below a gunicorn process
//	all      every live process
//	zombies  processes that stay dead and unreaped
func cmdProcs(ts *testscript.TestScript, neg bool, args []string) {
	refuse(ts, neg)
	p, args := named(ts, args)
	if len(args) > 0 && args[0] == "-draining" {
		args = args[1:]
	} else if ts.Getenv("STABLEHAND_BIND") != "" {
		p.awaitDrained(ts)
	}
	found := p.others()
	for _, q := range found {
		fmt.Fprintln(ts.Stdout(), q)
	}
	for _, arg := range args {
		what, count, ok := strings.Cut(arg, "=")
		want, err := strconv.Atoi(count)
		if !ok || err != nil {
			ts.Fatalf("usage: procs [NAME] [-draining] [COMM=N...]")
		}
		got := countProcs(found, what)
		if what == "zombies" {
			got = p.stayingZombies()
		}
		if got != want {
			fail(ts, p, "%d processes are %s, want %d:\n%v", got, what, want, found)
		}
	}
}

var drains = regexp.MustCompile(`msg=draining (generation=\d+ pid=\d+) `)

// awaitDrained waits until each generation that was handed over from, or left over so, has
// drained and retired.
func (p *program) awaitDrained(ts *testscript.TestScript) {
	for end := time.Now().Add(patience); ; time.Sleep(look) {
		log := p.logged()
		all := drains.FindAllStringSubmatch(log, -1)
		done := len(all) >= strings.Count(log, `msg="handed off"`) &&
			!slices.ContainsFunc(all, func(old []string) bool { return !strings.Contains(log, "msg=retired "+old[1]+" ") })
		if done || p.hasEnded() {
			return
		} else if time.Now().After(end) {
			fail(ts, p, "not all of %d generations that drain have retired", len(all))
		}
	}
}

func countProcs(procs []proc, what string) int {
	gunicorns := map[int]bool{}
	for _, p := range procs {
		gunicorns[p.pid] = p.gunicorn()
	}
	n := 0
	for _, p := range procs {
		is := p.comm == what
		switch what {
		case "all":
			is = true
		case "masters":
			is = p.gunicorn() && !gunicorns[p.ppid]
		case "workers":
			is = p.gunicorn() && gunicorns[p.ppid]
		}
		if is && !p.zombie() {
			n++
		}
	}
	return n
}

// stayingZombies counts the processes that are zombies now and still are when
// the grace is over.
func (p *program) stayingZombies() int {
	staying := map[int]bool{}
	for _, q := range p.others() {
		if q.zombie() {
			staying[q.pid] = true
		}
	}
	for deadline := time.Now().Add(zombieGrace); len(staying) > 0 && time.Now().Before(deadline); time.Sleep(look) {
		still := map[int]bool{}
		for _, q := range p.others() {
			if q.zombie() && staying[q.pid] {
				still[q.pid] = true
			}
		}
		staying = still
	}
	return len(staying)
}
