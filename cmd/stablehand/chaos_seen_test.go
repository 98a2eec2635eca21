package main_test

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// lookAround is the pause between two looks at a round's processes.
const lookAround = 40 * time.Millisecond

// lot is a generation as the process table shows it: a master, and what it has
// forked. It goes on when the master has gone, as long as anything lives of it.
type lot struct {
	number  int    // in the order in which they were seen
	origin  string // of its processes: see originOf
	master  int    // in our own namespace
	members []int  // that live, the master included
}

func (l *lot) lives() bool       { return len(l.members) > 0 }
func (l *lot) masterLives() bool { return slices.Contains(l.members, l.master) }

// workers are its living processes but the master.
func (l *lot) workers() []int {
	return slices.DeleteFunc(slices.Clone(l.members), func(pid int) bool { return pid == l.master })
}

// kin says of which generation a process was when it was last seen.
type kin struct {
	lot  *lot
	seen time.Time
}

// watcher looks at a namespace all the time, and remembers which process is of
// which generation: whose parent has gone still is of the same.
type watcher struct {
	mu    sync.Mutex
	tops  []int // what lives below these is looked at
	known map[int]kin
	lots  []*lot // all that were ever seen
	many  int    // for how many looks there have been more than two
	wrong func(format string, args ...any)
}

// run looks until done is closed.
func (w *watcher) run(done <-chan struct{}) {
	for {
		w.look()
		select {
		case <-done:
			return
		case <-time.After(lookAround):
		}
	}
}

// add has the watcher look below another process, too.
func (w *watcher) add(pid int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if pid != 0 {
		w.tops = append(w.tops, pid)
	}
}

func (w *watcher) look() {
	w.mu.Lock()
	defer w.mu.Unlock()
	// A list of children may miss one while another ends.
	now := time.Now()
	maps.DeleteFunc(w.known, func(_ int, k kin) bool { return now.Sub(k.seen) > time.Second })
	for _, l := range w.lots {
		l.members = nil
	}
	for _, q := range below(w.tops...) {
		if !q.gunicorn() || q.zombie() {
			continue
		}
		l := w.lotOf(q)
		w.known[q.pid] = kin{l, now}
		l.members = append(l.members, q.pid)
	}
	living := w.living()
	if len(living) <= 2 {
		w.many = 0
		return
	}
	if w.many++; w.many == 3 {
		w.wrong("%d generations live at once: %s", len(living), lotsText(living))
	}
}

// lotOf says of which generation a process is. The environment that a master was
// started with names its origin; what it forks has the same one.
func (w *watcher) lotOf(q proc) *lot {
	origin, known := originOf(q.pid)
	own, above := w.known[q.pid].lot, w.known[q.ppid].lot
	switch {
	case own != nil && (!known || own.origin == origin):
		return own
	case own == nil && above != nil && (!known || above.origin == origin):
		return above
	}
	l := &lot{number: len(w.lots) + 1, origin: origin, master: q.pid}
	w.lots = append(w.lots, l)
	return l
}

// originOf is what the environment that a process was started with has of its
// generation's own: the old master's pid, in its namespace (GUNICORN_PID), and with BIND,
// where that is stablehand's, its mark. In the midst of an exec there is none, and
// nothing is known.
func originOf(pid int) (origin string, known bool) {
	env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil || len(env) == 0 {
		return "", false
	}
	for _, v := range strings.Split(string(env), "\x00") {
		if strings.HasPrefix(v, "GUNICORN_PID=") || strings.HasPrefix(v, "_STABLEHAND_GENERATION=") {
			origin += " " + v
		}
	}
	return origin, true
}

func (w *watcher) living() []*lot {
	var living []*lot
	for _, l := range w.lots {
		if l.lives() {
			living = append(living, l)
		}
	}
	return living
}

// count says how many generations there have been.
func (w *watcher) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.lots)
}

// fresh is now after another look.
func (w *watcher) fresh() []lot {
	w.look()
	return w.now()
}

// now is a copy of the generations that lived at the last look, oldest first.
func (w *watcher) now() []lot {
	w.mu.Lock()
	defer w.mu.Unlock()
	var living []lot
	for _, l := range w.living() {
		living = append(living, lot{number: l.number, origin: l.origin, master: l.master, members: slices.Clone(l.members)})
	}
	return living
}

func lotsText(lots []*lot) string {
	var b strings.Builder
	for _, l := range lots {
		fmt.Fprintf(&b, "[%d: master %d,%s]", l.number, l.master, l.origin)
		for _, pid := range l.members {
			q, err := readProc(fmt.Sprintf("/proc/%d", pid))
			fmt.Fprintf(&b, " %v %v", q, err)
		}
	}
	return b.String()
}

// below lists the processes that descend from some, without those, from their
// lists of children: a look at the whole of a busy machine takes too long to be
// taken all the time.
func below(tops ...int) []proc {
	var found []proc
	queue := slices.Clone(tops)
	seen := map[int]bool{}
	for ; len(queue) > 0; queue = queue[1:] {
		threads := fmt.Sprintf("/proc/%d/task", queue[0])
		list, _ := os.ReadDir(threads)
		for _, thread := range list {
			text, _ := os.ReadFile(filepath.Join(threads, thread.Name(), "children"))
			for _, field := range bytes.Fields(text) {
				pid, _ := strconv.Atoi(string(field))
				q, err := readProc(fmt.Sprintf("/proc/%d", pid))
				if err != nil || seen[pid] {
					continue
				}
				seen[pid] = true
				found = append(found, q)
				queue = append(queue, pid)
			}
		}
	}
	return found
}

// beats counts a master's heartbeat files, and those of workers that have entered
// their loop. gunicorn 20.1 shows that by the file's mode, later ones by its time.
func beats(master int) (all, beaten int) {
	links, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", master))
	for _, link := range links {
		to, _ := os.Readlink(link)
		var st unix.Stat_t
		if !strings.HasPrefix(filepath.Base(to), "wgunicorn-") || unix.Stat(link, &st) != nil {
			continue
		}
		all++
		const day = 24 * 60 * 60
		if st.Mode&0o777 != 0o600 || st.Mtim.Sec < st.Ctim.Sec-day {
			beaten++
		}
	}
	return all, beaten
}

// listening is the inode of the socket that listens on a port of this machine's
// loopback, 0 if there is none.
func listening(port int) uint64 {
	table, _ := os.ReadFile("/proc/net/tcp")
	want := fmt.Sprintf("0100007F:%04X", port)
	for line := range strings.Lines(string(table)) {
		const listen = "0A"
		f := strings.Fields(line)
		if len(f) > 9 && f[1] == want && f[3] == listen {
			inode, _ := strconv.ParseUint(f[9], 10, 64)
			return inode
		}
	}
	return 0
}

// holds says whether a process has a socket open.
func holds(pid int, inode uint64) bool {
	links, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	want := fmt.Sprintf("socket:[%d]", inode)
	return slices.ContainsFunc(links, func(link string) bool {
		to, _ := os.Readlink(link)
		return to == want
	})
}

// send sends a signal to processes; those that have gone do not count.
func send(sig syscall.Signal, pids ...int) {
	for _, pid := range pids {
		if p, err := os.FindProcess(pid); err == nil {
			p.Signal(sig)
			p.Release()
		}
	}
}
