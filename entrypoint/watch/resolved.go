package watch

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/stablehand/stablehand/internal/deaf"
)

// Resolved says what one of [Options.Paths] leads to now.
type Resolved struct {
	Path   string   // as written
	To     []string // the file or directory that it is, or all that a glob matches; with no symlinks; none: nothing
	Files  int      // how many files count
	Faults []string // what an operator should know, each with the path
}

// Resolve says what the paths lead to. It reads no file and watches nothing. A
// path that does not answer in a second, or before the context ends, has this for
// its fault; who asks more than once uses a [Resolver].
func Resolve(ctx context.Context, o Options) ([]Resolved, error) {
	r, err := NewResolver(ctx, o)
	if err != nil {
		return nil, err
	}
	return r.Resolve(ctx), nil
}

// Resolver says what some paths lead to, whenever it is asked, from any
// goroutine. However often that is, each path is looked at once at a time: where
// its file system does not answer, one goroutine waits for it until it does.
type Resolver struct {
	options Options
	entries []*entry

	mu    sync.Mutex
	asked []*answer // by entry: the one under way; nil: none
}

// askLimit is how long a path has to answer whoever asks. Who asks of one that has
// not answered somebody else for so long is told so at once.
const askLimit = time.Second

// answer is what is found out of one path.
type answer struct {
	look  *look
	asked time.Time
	done  chan struct{} // closed when the rest is there
	Resolved
}

// NewResolver returns an error if the options are wrong. Its context is for
// where the working directory does not answer.
func NewResolver(ctx context.Context, o Options) (*Resolver, error) {
	entries, err := parse(ctx, o)
	if err != nil {
		return nil, err
	}
	return &Resolver{options: o, entries: entries, asked: make([]*answer, len(entries))}, nil
}

// Resolve is as the function of that name. Who asks while a path is looked at
// for somebody else shares the answer.
func (r *Resolver) Resolve(ctx context.Context) []Resolved {
	r.mu.Lock()
	for i := range r.entries {
		if r.asked[i] == nil {
			r.ask(i)
		}
	}
	asked := slices.Clone(r.asked)
	r.mu.Unlock()
	var all []Resolved
	for i, a := range asked {
		all = append(all, a.within(ctx, r.entries[i].path))
	}
	return all
}

// ask begins to look at an entry.
func (r *Resolver) ask(i int) {
	e := r.entries[i]
	l := newLook(context.Background(), &places{ignore: r.options.Ignore, leaveOut: r.options.LeaveOut, next: make(map[inode]*place)}, nil, new(look))
	l.dry = true
	a := &answer{look: l, asked: time.Now(), done: make(chan struct{})}
	r.asked[i] = a
	go func() {
		defer l.cancel()
		deaf.Call(func() { l.entry(e) })
		a.Resolved = Resolved{Path: e.path, To: l.to, Files: l.files}
		a.Faults = l.faultsInWords()
		r.mu.Lock()
		r.asked[i] = nil // first: who has this answer and asks again gets a new one
		r.mu.Unlock()
		close(a.done)
	}()
}

// faultsInWords are the first few faults, each with its path.
func (l *look) faultsInWords() (list []string) {
	for _, path := range slices.Sorted(maps.Keys(l.faults)) {
		if len(list) == maxFaults {
			return append(list, fmt.Sprintf("%d more have such faults", len(l.faults)-maxFaults))
		}
		list = append(list, path+": "+l.faults[path].String())
	}
	return list
}

// within is the answer, or that none has come in time.
func (a *answer) within(ctx context.Context, path string) Resolved {
	late := time.NewTimer(time.Until(a.asked.Add(askLimit)))
	defer late.Stop()
	select {
	case <-a.done:
		return a.Resolved
	case <-ctx.Done():
	case <-late.C:
	}
	select {
	case <-a.done: // too
		return a.Resolved
	default:
	}
	waits := a.look.waitsFor()
	if waits == "" {
		waits = path
	}
	return Resolved{Path: path, Faults: []string{waits + ": does not answer"}}
}
