package watch

import (
	"context"
	"maps"
	"slices"
)

// Resolved says what one of [Options.Paths] leads to now.
type Resolved struct {
	Path   string   // as written
	To     []string // the file or directory that it is, or all that a glob matches; with no symlinks; none: nothing
	Files  int      // how many files count
	Faults []string // what an operator should know, each with the path
}

// Resolve says what the paths lead to. It reads no file and watches nothing.
func Resolve(o Options) ([]Resolved, error) {
	entries, err := parse(o)
	if err != nil {
		return nil, err
	}
	var all []Resolved
	for _, e := range entries {
		l := newLook(context.Background(), &places{ignore: o.Ignore, next: make(map[inode]*place)}, new(look))
		l.dry = true
		l.entry(e)
		r := Resolved{Path: e.path, To: l.to, Files: l.files}
		for _, path := range slices.Sorted(maps.Keys(l.faults)) {
			r.Faults = append(r.Faults, path+": "+l.faults[path].String())
		}
		all = append(all, r)
	}
	return all, nil
}
