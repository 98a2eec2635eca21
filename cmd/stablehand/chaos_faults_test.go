package main_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"
)

// victims are what a fault is about: the generation that came last, and the one
// before it, as they are when it strikes. Where there is only one it is the old
// one to those that ask for an old one, too.
func (r *round) victims() (old, successor *lot) {
	lots := r.w.fresh()
	if len(lots) == 0 {
		return nil, nil
	}
	return &lots[max(0, len(lots)-2)], &lots[len(lots)-1]
}

// on makes what is done to a generation a fault, about the old or the new one.
func on(who string, do func(r *round, s strike, l *lot)) func(r *round, s strike) {
	return func(r *round, s strike) {
		old, successor := r.victims()
		switch {
		case old == nil:
			r.say("%s: nobody is there", s)
		case who == "old":
			do(r, s, old)
		case who == "both" && old != successor:
			do(r, s, successor)
			do(r, s, old)
		default:
			do(r, s, successor)
		}
	}
}

func killMaster(r *round, _ strike, l *lot) { r.kill(*l, l.master) }

func killAll(r *round, _ strike, l *lot) { r.kill(*l, l.members...) }

func killWorkers(r *round, s strike, l *lot) { r.kill(*l, r.some(s, l)...) }

// some are as many of a generation's workers as the strike says, or all.
func (r *round) some(s strike, l *lot) []int {
	workers := l.workers()
	if s.count > 0 && s.count < len(workers) {
		return workers[:s.count]
	}
	return workers
}

// kill kills processes of a generation. What they hold is lost, and with a master
// all that is left of its generation.
func (r *round) kill(l lot, pids ...int) {
	e := r.excuse("killed")
	committed := r.committed()
	r.say("SIGKILL to %v of generation %d", pids, l.number)
	send(syscall.SIGKILL, pids...)
	r.excuseUntil(e, time.Now().Add(slack))
	if !slices.Contains(pids, l.master) {
		return
	}
	r.undoing.Go(func() { // its workers see that within a second
		for r.livesStill(l) && !r.ended() {
			r.excuseUntil(e, time.Now().Add(slack))
			time.Sleep(lookAround)
		}
	})
	r.bereaved(l, e.from, committed)
}

// bereaved notes what comes of the death of a generation's master: of its death, and not
// of the signal, after which it may go on for as long as a busy machine lets it.
func (r *round) bereaved(l lot, since time.Time, committed bool) {
	const killed = 128 + int(syscall.SIGKILL)
	r.wait(patience, func() bool {
		master, err := readProc(fmt.Sprintf("/proc/%d", l.master))
		return err != nil || master.zombie()
	})
	time.Sleep(300 * time.Millisecond) // a successor may be on its way, or be made the serving one in this moment
	var before, after bool
	for _, other := range r.w.fresh() {
		before = before || other.number < l.number && other.masterLives()
		after = after || other.number > l.number && other.masterLives()
	}
	switch {
	case after && r.sound: // it inherits, unless it is told to stop before it is ready
		r.mu.Lock()
		r.codes = append(r.codes, killed)
		r.mu.Unlock()
	case after:
		r.doomed(doom{since: since, codes: []int{killed}})
	case before && !committed && !r.committed(): // rolled back
	case before && !committed:
		r.doomed(doom{since: since, codes: []int{killed}})
	default:
		r.doomed(doom{since: since, must: true, codes: []int{killed}})
	}
}

// doomed notes what the site has come to. What must end stays so.
func (r *round) doomed(d doom) {
	r.mu.Lock()
	if !r.doom.must {
		r.doom = d
	}
	r.mu.Unlock()
	r.say("it has to end: %v, with one of %v", d.must, d.codes)
}

func (r *round) excuse(why string) *excuse {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := &excuse{from: time.Now(), until: time.Now(), why: why}
	r.excuses = append(r.excuses, e)
	return e
}

func (r *round) excuseUntil(e *excuse, until time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e.until = until
}

func (r *round) livesStill(l lot) bool {
	return slices.ContainsFunc(r.w.now(), func(other lot) bool { return other.number == l.number })
}

// ended says whether all is over.
func (r *round) ended() bool {
	select {
	case <-r.done:
		return true
	default:
		return false
	}
}

func stopMaster(r *round, s strike, l *lot) { r.halt(s, l.master) }

// stopWorkers may have them hold requests, which are lost if they are given up
// meanwhile.
func stopWorkers(r *round, s strike, l *lot) {
	e := r.excuse("stopped")
	r.halt(s, r.some(s, l)...)
	r.excuseUntil(e, time.Now().Add(slack))
}

// halt stops processes, and lets them go on later.
func (r *round) halt(s strike, pids ...int) {
	r.say("SIGSTOP to %v for %s", pids, s.hold)
	send(syscall.SIGSTOP, pids...)
	r.later(s.hold, fmt.Sprintf("SIGCONT to %v", pids), func() { send(syscall.SIGCONT, pids...) })
}

// later undoes something, unless all is over before.
func (r *round) later(hold time.Duration, what string, undo func()) {
	r.undoing.Go(func() {
		select {
		case <-time.After(hold):
			undo()
			r.say("%s", what)
		case <-r.done:
		}
	})
}

// halt stops stablehand itself, which nobody may notice. nsenter, above one that was
// started again, stops with it, and goes on only when it is told to.
func halt(r *round, s strike) {
	above := r.p.outside.Process.Pid
	r.halt(s, r.p.pid)
	r.later(s.hold, "SIGCONT to what has started it", func() { send(syscall.SIGCONT, above) })
}

// restart kills stablehand, and starts it again as a supervisor would.
func restart(r *round, s strike) {
	r.say("SIGKILL to stablehand")
	r.p.handle.Kill()
	<-r.p.ended
	time.Sleep(s.hold / 10)
	r.launch()
}

// restartTwice does not leave the second one the time to finish what it found.
func restartTwice(r *round, s strike) {
	restart(r, s)
	time.Sleep(2 * s.after)
	if !r.p.hasEnded() {
		restart(r, s)
	}
}

// restartChanged has the content change while no stablehand looks.
func restartChanged(r *round, s strike) {
	r.p.handle.Kill()
	<-r.p.ended
	r.write("good")
	r.launch()
}

// back writes other content, and what was there before soon after.
func back(r *round, s strike) {
	before, text := r.wanted, r.content()
	r.write("good")
	time.Sleep(s.hold / 15)
	r.put("content.json", text)
	r.wanted = before
	r.say("content is %s again", before)
}

// order tells stablehand to stop. Before gunicorn's handlers are there the signal
// does what the kernel, or Python, does by default.
func order(sig syscall.Signal) func(r *round, s strike) {
	return func(r *round, s strike) {
		r.mu.Lock()
		if r.stopped.IsZero() {
			r.stopped = time.Now()
		}
		if s.step == "boot" {
			const interrupted = 1 // of Python, in the midst of an import
			r.codes = append(r.codes, 128+int(sig), interrupted)
		}
		r.mu.Unlock()
		send(sig, r.p.pid)
	}
}

func hangUps(r *round, s strike) {
	for range 3 + 5*s.count {
		send(syscall.SIGHUP, r.p.pid)
		time.Sleep(s.after / 10)
	}
}

// flap writes what is good and what is not in turns, and what is good at last.
func flap(r *round, s strike) {
	r.sound = false
	for i := range 3 + s.count {
		r.write([]string{"exit-3", "good"}[i%2])
		time.Sleep(s.hold / 15)
	}
	r.write("good")
}

// remake removes the watched directory, and makes it anew later.
func remake(r *round, s strike) {
	r.sound = false
	r.check(os.Rename(r.path("etc"), r.path("away")))
	time.Sleep(s.hold / 2)
	r.check(os.RemoveAll(r.path("away")))
	r.check(os.Mkdir(r.path("etc"), 0o777))
	r.check(os.Chmod(r.path("etc"), 0o777))
	r.write("good")
}

// fillDisk leaves no byte and no file of the file system that has the pidfile, the
// sockets and the heartbeats.
func fillDisk(r *round, s strike) {
	r.deprive(s.hold)
	os.WriteFile(r.path("run/filler"), make([]byte, 1<<20), 0o666)
	for n := range 200 {
		if os.WriteFile(r.path(fmt.Sprintf("run/filler%d", n)), nil, 0o666) != nil {
			break
		}
	}
	r.later(s.hold, "the disk has room", func() {
		fillers, _ := filepath.Glob(r.path("run/filler*"))
		for _, f := range fillers {
			os.Remove(f)
		}
	})
}

// deprive notes that gunicorn may end by itself from now on.
func (r *round) deprive(hold time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.deprived.IsZero() {
		r.deprived = time.Now()
	}
	r.restored = time.Now().Add(hold + time.Second)
}

// starve leaves stablehand no descriptor.
func starve(r *round, s strike) {
	r.limit("nofile", freeAfter(r.p.pid, s.count), 1024, s.hold, r.p.pid)
}

// starveMaster leaves none to a master, and so to what it starts.
func starveMaster(r *round, s strike, l *lot) {
	r.deprive(s.hold)
	r.limit("nofile", freeAfter(l.master, s.count), 1024, s.hold, l.master)
}

// crowd leaves no process to all of the namespace.
func crowd(r *round, s strike) {
	r.deprive(s.hold)
	undo, free, err := limitPids(r.p, s.count)
	if err != nil {
		r.say("%v", err)
	}
	r.later(s.hold, "there may be processes", func() { undo() })
	r.frees = append(r.frees, free)
}

// crowdUser leaves none to stablehand, of those that its user may have.
func crowdUser(r *round, s strike) {
	r.limit("nproc", 1, 1000, s.hold, r.p.pid)
}

// limit has a process live with a limit for a while, which what it starts inherits.
// What has ended has none.
func (r *round) limit(resource string, to, back int, hold time.Duration, pid int) {
	set := func(pid, n int) error { return limitTo(pid, resource, strconv.Itoa(n)+":") }
	if err := set(pid, to); err != nil {
		r.say("%v", err)
		return
	}
	r.later(hold, "it has "+resource+" again", func() {
		set(pid, back)
		for _, q := range r.inside() {
			set(q.pid, back)
		}
	})
}
