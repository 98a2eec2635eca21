package watch

import (
	"context"
	"errors"
	"maps"
	"path"
	"time"

	"golang.org/x/sys/unix"
)

// look is one look at everything that is watched. What it learns is kept only
// when it is over; the directories it passes are watched before it reads them,
// so that whatever changes behind its back is announced by an event.
//
// It has a goroutine of its own, since file systems may have it wait for ever.
// All that it works on is its own until it is over, or for good when it is given
// up.
type look struct {
	asking
	places  *places
	entries []entry         // as they were when it began
	ctx     context.Context // when it ends, so does the look, and is worth nothing
	cancel  context.CancelFunc
	began   time.Time
	sights  []sight           // by entry; of the look before where this one has not come to it
	before  map[inode]record  // what the look before knew of files
	records map[inode]record  // files that are named, or that a symlink leads to
	listed  map[inode]listing // what the look before knew of directories
	lists   map[inode]listing
	table   *mountTable
	trees   map[inode]digest // directories below the present entry; also breaks symlink loops
	faults  map[string]fault // of the present entry; in the end, of all
	buffer  []byte
	torn    bool     // a file changed while it was read
	written []wrote  // files that are new, or were written since the look before, be it with what they held; not all
	left    []string // names that are not there any more; not all
	newName string   // the present name, if it is new, or that of a directory that it is below; empty: none is
	matched match    // of the present entry
	reads   int64

	dry   bool     // no file is to be read
	to    []string // what the entries have resolved to
	was   []string // the same at the look before
	first bool     // there was none before, or little is known of it
	files int      // how many files were looked at

	kinds     map[string]string // of a first look: a name of each kind of file
	entryPath string            // of the present entry, as it is written
	name      string            // by which what is looked at is reached, as [File.Name] is
	moved     bool              // it is below a directory that has the name of another
	leaf      bool              // what was looked at last is a file
	now, past reached           // past: at the look before
	changed   changed           // since the look before
}

// sight is what a look has seen of an entry.
type sight struct {
	digest digest
	faults map[string]fault
}

func newLook(ctx context.Context, p *places, entries []*entry, last *look) *look {
	l := &look{
		places:  p,
		began:   time.Now(),
		before:  make(map[inode]record, len(last.records)),
		records: make(map[inode]record, len(last.records)),
		listed:  last.lists,
		lists:   make(map[inode]listing, len(last.lists)),
		sights:  make([]sight, len(entries)),
		was:     last.to,
		first:   last.lists == nil,
		now:     reached{dirs: make(map[string]inode, len(last.now.dirs)), files: make(map[string]map[string]digest, len(entries))},
		past:    last.now,
	}
	for _, e := range entries {
		l.entries = append(l.entries, *e)
	}
	copy(l.sights, last.sights)
	maps.Copy(l.before, last.records)
	l.ctx, l.cancel = context.WithCancel(ctx)
	return l
}

// take takes the look. The places are left to who began it, but closed where
// nobody wants to know any more.
func (l *look) take() {
	l.on(allEntries)
	l.places.begin(&l.asking)
	l.everyEntry()
	l.on(allEntries)
	if l.ctx.Err() == nil {
		l.conclude()
	}
	if l.ctx.Err() != nil {
		l.places.close()
	}
}

// everyEntry looks at the entries whose file systems answer.
func (l *look) everyEntry() {
	for i := range l.entries {
		if l.ctx.Err() != nil {
			return // the next one's file system may not answer either
		}
		e := &l.entries[i]
		if e.hung != nil {
			l.sights[i].digest = e.rest
			l.keepReached(e)
			continue
		}
		l.on(i)
		l.faults = nil
		d := l.entry(e)
		l.sights[i] = sight{d, l.faults}
	}
}

// conclude puts together what was seen.
func (l *look) conclude() {
	l.places.end()
	l.leftMatches()
	l.faults = make(map[string]fault)
	for _, s := range l.sights {
		maps.Copy(l.faults, s.faults)
	}
	if err := l.places.failure; err != nil {
		l.fault("inotify", blindness(err))
	}
	l.before, l.listed, l.trees, l.buffer, l.table, l.was = nil, nil, nil, nil, nil, nil // not needed any more
	l.past = reached{}
}

// entry returns the digest of what an entry leads to, or, where that can't be
// had, the digest that it had when it was last at rest.
func (l *look) entry(e *entry) digest {
	l.trees = make(map[inode]digest)
	l.entryPath, l.name = e.path, path.Clean(e.path)
	d, err := l.leadsTo(e)
	if err != nil {
		l.keepReached(e)
	}
	switch {
	case err == nil:
		return d
	case errors.Is(err, errNoContent):
		l.fault(e.path, fault{"watched path is neither a file nor a directory: it has no content to watch", ""})
	case !gone(err):
		l.fault(e.path, unreadable(err))
	case e.rest == digest{}:
		l.fault(e.path, fault{"watched path does not exist: it is seen when it appears", ""})
	case len(l.faults) > 0: // it is gone with what was mounted
	default:
		l.fault(e.path, fault{"watched path is gone: nothing is done until it is back with other content", ""})
	}
	return e.rest
}

var errNoContent = errors.New("neither a file nor a directory")

func (l *look) leadsTo(e *entry) (digest, error) {
	if isGlob(e.path) {
		return l.glob(e)
	}
	at, err := l.resolve("/", e.full)
	if err != nil {
		l.mountedAbove(path.Clean(e.full))
		return digest{}, err
	}
	if at.kind() != unix.S_IFREG && at.kind() != unix.S_IFDIR {
		return digest{}, errNoContent
	}
	l.mounted(at)
	l.mountedAbove(at.path)
	l.found(at)
	d, err := l.content(at)
	if err == nil && l.leaf {
		l.reach(e, l.name, d)
	}
	return d, err
}

func (l *look) found(at node) { l.to = append(l.to, at.path) }

// content returns the digest of a file or of all files below a directory;
// anything else has none.
func (l *look) content(at node) (digest, error) {
	l.leaf = false
	switch at.kind() {
	case unix.S_IFREG:
		r, err := l.file(at)
		if err == nil {
			l.records[r.inode] = r
		}
		return r.digest, err
	case unix.S_IFDIR:
		d, err := l.tree(at)
		l.leaf = false
		return d, err
	}
	return digest{}, nil
}
