package watch

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/fsnotify/fsnotify"
	"golang.org/x/sys/unix"
)

// eventBuffer is how many events may wait while a look is taken. The kernel
// keeps 16384 more by default (fs.inotify.max_queued_events).
const eventBuffer = 1024

// places are the directories that are watched, and the names that matter in
// each.
//
// inotify watches inodes; fsnotify labels each with the path by which it was
// added. A directory may be moved, replaced, or be in two places by a bind
// mount. So what is watched is kept by inode, and every look puts the labels
// right before it reads a directory.
//
// Who takes a look has them until it is over; events wait that long, in the
// buffer and in the kernel. In between they are the loop's, which must not wait
// for a file system: what may is left to the next look.
type places struct {
	ignore   []string
	kind     func(of, name string) string
	leaveOut []string
	asking   *asking // that of the look

	fs      *fsnotify.Watcher // nil where none could be had
	failed  chan error        // what it could not do; see relay
	broken  bool              // it has lost events, and must be replaced
	labels  map[inode]string
	byLabel map[string]inode
	invalid []string // labels that the next look is to take back

	now     map[inode]*place // what matters, as of the last look
	next    map[inode]*place // the same, while a look is taken
	failure error            // why that look could not watch some directory
	touched map[inode]names  // what there have been events for since that look began
	stale   map[inode]names  // the same before the look that is being taken
	doubt   bool             // the next look must not rely on there having been no event
	all     bool             // nor must the look that is being taken
}

// place is one directory.
type place struct {
	names    names    // these matter
	patterns []string // so do those that match one of these, but the ignored
}

// names are some names in a directory; with "" among them, all.
type names map[string]bool

// maxNames is how many names of one directory are told apart.
const maxNames = 1000

func (p *places) touch(dir inode, name string) {
	if p.touched[dir] == nil {
		p.touched[dir] = make(names)
	}
	if len(p.touched[dir]) >= maxNames {
		name = ""
	}
	p.touched[dir][name] = true
}

func (pl *place) matters(name string, ignore []string) bool {
	if pl.names[name] {
		return true
	}
	for _, pattern := range pl.patterns {
		if ok, _ := path.Match(pattern, name); ok {
			return !ignored(ignore, name)
		}
	}
	return false
}

func newPlaces(o Options) *places {
	return &places{ignore: o.Ignore, leaveOut: o.LeaveOut, kind: o.Kind, touched: make(map[inode]names)}
}

// begin begins a look.
func (p *places) begin(a *asking) {
	p.asking = a
	if p.broken {
		p.close()
	}
	p.next = make(map[inode]*place, len(p.now))
	p.stale, p.touched = p.touched, make(map[inode]names)
	p.all, p.doubt, p.failure = p.doubt || p.blind(), false, nil
	for _, label := range p.invalid {
		p.remove(label)
	}
	p.invalid = nil
	if p.fs != nil {
		return
	}
	p.labels, p.byLabel = make(map[inode]string), make(map[string]inode)
	fs, err := fsnotify.NewBufferedWatcher(eventBuffer)
	if err != nil {
		p.failure = err
		return
	}
	p.fs, p.failed = fs, make(chan error, 1)
	go relay(fs.Errors, p.failed)
}

// relay takes each error as soon as it is there, and keeps the first. fsnotify
// holds a lock until an error is taken, and to add or remove a watch waits for
// that lock: who does that must not be the one who takes them.
func relay(from <-chan error, to chan<- error) {
	defer close(to)
	for err := range from {
		if errors.Is(err, unix.EINVAL) {
			continue // a watch that was to be taken back had gone with its inode; the event for that follows
		}
		select {
		case to <- err:
		default: // it starts over already
		}
	}
}

// watch has a name in a directory watched, as long as each look asks for it.
func (p *places) watch(dir *node, name string) {
	p.place(dir).names[name] = true
}

// watchAll has the names in a directory watched that match a pattern, but not
// the ignored ones.
func (p *places) watchAll(dir *node, pattern string) {
	if pl := p.place(dir); !slices.Contains(pl.patterns, pattern) {
		pl.patterns = append(pl.patterns, pattern)
	}
}

// watchSelf has a file watched itself, whatever it is called.
func (p *places) watchSelf(file *node) { p.place(file) }

func (p *places) place(dir *node) *place {
	id := dir.inode()
	if pl := p.next[id]; pl != nil {
		return pl
	}
	pl := &place{names: make(names)}
	p.next[id] = pl
	if p.labels[id] != dir.path {
		p.add(id, dir.path)
	}
	return pl
}

// add adds an inode to what fsnotify watches, or gives it a new label.
func (p *places) add(id inode, label string) {
	if p.fs == nil {
		return
	}
	p.stale[id] = names{"": true}
	p.forget(p.labels[id])
	p.forget(label)
	err := p.asking.ask(label, func() error { return p.fs.Add(label) })
	switch {
	case err == nil:
		p.labels[id], p.byLabel[label] = label, id
	case !gone(err): // what is gone was replaced, which is an event for its parent
		p.failure = fmt.Errorf("watch %s: %w", label, err)
	}
}

// forget takes a label out.
func (p *places) forget(label string) {
	if p.drop(label) {
		p.remove(label)
	}
}

// drop takes a label out, but not its watch back.
func (p *places) drop(label string) bool {
	id, ok := p.byLabel[label]
	delete(p.byLabel, label)
	delete(p.labels, id)
	return ok
}

// remove takes a watch back. It fails where the inode has gone, and its watch
// with it.
func (p *places) remove(label string) {
	_ = p.asking.ask(label, func() error { return p.fs.Remove(label) })
}

// end ends a look: what it did not ask for is not watched any more.
func (p *places) end() {
	p.now, p.next = p.next, nil
	for id, label := range p.labels {
		if p.now[id] == nil {
			p.forget(label)
		}
	}
}

// blind says whether there is anything that no event will tell of.
func (p *places) blind() bool { return p.failure != nil }

// distrust makes the next look rely on stat alone.
func (p *places) distrust() { p.doubt = true }

// news returns the names that events have come for in a directory that was
// watched before it was last read, and whether it must be read as a whole.
func (p *places) news(id inode) (news names, all bool) {
	return p.stale[id], p.all || p.stale[id][""]
}

// freshName says whether no event has come for a name in such a directory.
func (p *places) freshName(id inode, name string) bool {
	return !p.all && !p.stale[id][""] && !p.stale[id][name]
}

// concerns says whether an event is for something that matters.
func (p *places) concerns(ev fsnotify.Event) bool {
	name := ev.Name
	if strings.HasPrefix(name, "//") { // the label was "/"
		name = name[1:]
	}
	// What is watched itself may have been named by its directory, or be a file
	// that has its record there: such an event is for both.
	self, isSelf := p.byLabel[name]
	if isSelf {
		p.touch(self, "")
		if ev.Has(fsnotify.Remove) || ev.Has(fsnotify.Rename) {
			p.drop(name)
			p.invalid = append(p.invalid, name)
		}
	}
	dir, base := split(name)
	id, known := p.byLabel[dir]
	matters := known && p.now[id] != nil && p.now[id].matters(base, p.ignore)
	if known && (isSelf || matters) {
		p.touch(id, base)
	}
	return isSelf || matters
}

// lost has the next look start over after fsnotify has failed: events were
// lost, and with them maybe the news that a directory is not the one any more
// that it watches.
func (p *places) lost() {
	p.broken = true
	p.distrust()
}

// close waits until nothing runs any more.
func (p *places) close() {
	if p.fs == nil {
		return
	}
	_ = p.asking.ask("inotify", p.fs.Close)
	for range p.failed { // until relay has ended
	}
	p.fs, p.broken, p.invalid = nil, false, nil
}

func (p *places) events() <-chan fsnotify.Event {
	if p.fs == nil || p.broken {
		return nil
	}
	return p.fs.Events
}

func (p *places) errors() <-chan error {
	if p.fs == nil || p.broken {
		return nil
	}
	return p.failed
}
