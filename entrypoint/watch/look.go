package watch

import (
	"context"
	"errors"
	"maps"

	"golang.org/x/sys/unix"
)

// look is one look at everything that is watched. What it learns is kept only
// when it is over; the directories it passes are watched before it reads them,
// so that whatever changes behind its back is announced by an event.
type look struct {
	places  *places
	ctx     context.Context   // when it ends, so does the look, and is worth nothing
	before  map[inode]record  // what the look before knew of files
	records map[inode]record  // files that are named, or that a symlink leads to
	listed  map[inode]listing // what the look before knew of directories
	lists   map[inode]listing
	trees   map[inode]digest // directories below the present entry; also breaks symlink loops
	faults  map[string]fault
	buffer  []byte
	torn    bool // a file changed while it was read
	reads   int64

	dry   bool     // no file is to be read
	to    []string // what the entries have resolved to
	files int      // how many files were looked at
}

func newLook(ctx context.Context, p *places, last *look) *look {
	l := &look{
		places:  p,
		ctx:     ctx,
		before:  make(map[inode]record, len(last.records)),
		records: make(map[inode]record, len(last.records)),
		listed:  last.lists,
		lists:   make(map[inode]listing, len(last.lists)),
		faults:  make(map[string]fault),
	}
	maps.Copy(l.before, last.records)
	return l
}

// look looks at every entry and says whether anything is other than it was at
// the look before.
func (w *Watcher) look(ctx context.Context) bool {
	if len(w.entries) == 0 {
		return false // nothing is watched, and inotify not needed
	}
	l := newLook(ctx, w.places, w.last)
	l.places.begin()
	moved := false
	for _, e := range w.entries {
		seen := l.entry(e)
		moved = moved || seen != e.seen
		e.seen = seen
	}
	l.places.end()
	if err := l.places.failure; err != nil {
		l.fault("inotify", blindness(err))
	}
	moved = moved || l.torn || !maps.Equal(w.last.faults, l.faults)
	l.before, l.listed, l.trees, l.buffer = nil, nil, nil, nil // not needed any more
	w.last = l
	w.looks.Add(1)
	w.reads.Add(l.reads)
	return moved
}

// entry returns the digest of what an entry leads to, or, where that can't be
// had, the digest that it had when it was last at rest.
func (l *look) entry(e *entry) digest {
	l.trees = make(map[inode]digest)
	d, err := l.leadsTo(e)
	switch {
	case err == nil:
		return d
	case errors.Is(err, errNoContent):
		l.fault(e.path, fault{"watched path is neither a file nor a directory: it has no content to watch", ""})
	case !gone(err):
		l.fault(e.path, unreadable(err))
	case e.rest == digest{}:
		l.fault(e.path, fault{"watched path does not exist: it is seen when it appears", ""})
	default:
		l.fault(e.path, fault{"watched path is gone: nothing is done until it is back with other content", ""})
	}
	return e.rest
}

var errNoContent = errors.New("neither a file nor a directory")

func (l *look) leadsTo(e *entry) (digest, error) {
	if isGlob(e.path) {
		return l.glob(e.full)
	}
	at, err := l.resolve("/", e.full)
	if err != nil {
		return digest{}, err
	}
	if at.kind() != unix.S_IFREG && at.kind() != unix.S_IFDIR {
		return digest{}, errNoContent
	}
	l.mounted(at)
	l.found(at)
	return l.content(at)
}

func (l *look) found(at node) { l.to = append(l.to, at.path) }

// content returns the digest of a file or of all files below a directory;
// anything else has none.
func (l *look) content(at node) (digest, error) {
	switch at.kind() {
	case unix.S_IFREG:
		r, err := l.file(at)
		if err == nil {
			l.records[r.inode] = r
		}
		return r.digest, err
	case unix.S_IFDIR:
		return l.tree(at)
	}
	return digest{}, nil
}
