package watch

import "slices"

// Begun is what a watch begins with.
type Begun struct {
	Files  int               // how many there are
	Mounts []string          // the mount points below which what is watched lies, sorted
	Kinds  map[string]string // by each kind that [Options.Kind] knows the first name of it
}

// kindOf notes of what kind the present file is.
func (l *look) kindOf() {
	if !l.first || l.dry || l.places.kind == nil {
		return
	}
	kind := l.places.kind(l.entryPath, l.name)
	if kind == "" || l.kinds[kind] != "" {
		return
	}
	if l.kinds == nil {
		l.kinds = make(map[string]string)
	}
	l.kinds[kind] = l.name
}

// mountPoints are those below which some paths lie, going by their names alone.
func mountPoints(paths []string) (points []string) {
	table := mounts()
	for _, path := range paths {
		points = append(points, mountPointIn(table, path))
	}
	slices.Sort(points)
	return slices.Compact(points)
}
