package watch

import (
	"maps"
	"path"
	"slices"
	"strings"
)

// maxChanged is how many files of a change are told apart: a person reads a few of
// them, and a directory that was swapped may hold any number.
const maxChanged = 100

// turn is what a file held when a change was last reported, and what it holds now. A
// zero digest stands for no file.
type turn struct{ was, is digest }

// changed are the files that have turned, by the names under which they are reached:
// one of [Options.Paths], or what it matches, and the names below it. So a file below
// a symlink that was swapped is compared with the one that had its name before.
type changed struct {
	turns map[string]turn
	more  bool // not all of them are told apart
}

// turned notes what a file has turned from and to.
func (c *changed) turned(name string, t turn) {
	if c.turns == nil {
		c.turns = make(map[string]turn)
	}
	before, known := c.turns[name]
	if known {
		t.was = before.was
	}
	switch {
	case t.was == t.is:
		delete(c.turns, name)
	case !known && len(c.turns) == maxChanged:
		c.more = true
	default:
		c.turns[name] = t
	}
}

// add notes what a look has seen to turn.
func (c *changed) add(l *look) {
	for name, t := range l.changed.turns {
		c.turned(name, t)
	}
	c.more = c.more || l.changed.more
}

// files lists what has changed.
func (c *changed) files() (list []File) {
	for _, name := range slices.Sorted(maps.Keys(c.turns)) {
		list = append(list, File{Name: name, Gone: c.turns[name].is == digest{}})
	}
	return list
}

// reached is how what is watched was reached at a look: directories by the names that
// lead to them, and for each of the entries the files that it is or matches.
type reached struct {
	dirs  map[string]inode
	files map[string]map[string]digest
}

// turned notes that the file that is reached by the present name, or by that and
// another below it, is not what it was. Of a first look nothing is noted.
func (l *look) turned(below string, was, is digest) {
	if l.first || l.dry || was == is {
		return
	}
	l.changed.turned(path.Join(l.name, below), turn{was, is})
}

// reach notes a file that the entry is, or matches by the name.
func (l *look) reach(e *entry, name string, d digest) {
	if l.now.files[e.path] == nil {
		l.now.files[e.path] = make(map[string]digest)
	}
	l.now.files[e.path][name] = d
	outer := l.name
	l.name = name
	l.turned("", l.past.files[e.path][name], d)
	l.name = outer
}

// unmatched notes the files that a glob does not match any more.
func (l *look) unmatched(e *entry) {
	for name, was := range l.past.files[e.path] {
		if _, there := l.now.files[e.path][name]; !there {
			outer := l.name
			l.name = name
			l.turned("", was, digest{})
			l.name = outer
		}
	}
}

// keepReached has what is known of an entry stay what it was, where it was not looked at.
func (l *look) keepReached(e *entry) {
	if files := l.past.files[e.path]; files != nil {
		l.now.files[e.path] = files
	}
}

// replaced says whether a directory is new under the present name, and returns the
// children of the one that had it at the look before, if there was one.
func (l *look) replaced(id inode) (old []child, other bool) {
	l.now.dirs[l.name] = id
	was, known := l.past.dirs[l.name]
	if !known {
		return nil, l.newName != "" || l.moved
	}
	if was == id {
		return nil, false
	}
	return l.listed[was].children, true
}

// turnedIn notes of a directory that is new under its name what is not as among those
// that had the place of its children before. What is below it is noted by itself.
func (l *look) turnedIn(old []child, list *listing) {
	for _, c := range old {
		if _, there := slices.BinarySearchFunc(list.children, c.name, child.compare); !there {
			l.lost(c.name, c.digest)
		}
	}
	for _, c := range list.children {
		if c.record.good() {
			l.turned(c.name, childBefore(old, c.name), c.digest)
		}
	}
}

// lost notes that nothing is reached any more by a name below the present one: of a
// directory, that none of its files is.
func (l *look) lost(below string, was digest) {
	if l.first || l.dry || l.changed.more {
		return
	}
	list, known := l.listed[l.past.dirs[path.Join(l.name, below)]]
	if !known {
		l.turned(below, was, digest{})
		return
	}
	for _, c := range list.children {
		l.lost(path.Join(below, c.name), c.digest)
	}
}

// childBefore is what a child's name led to in the directory that had the place before.
func childBefore(old []child, name string) digest {
	if i, there := slices.BinarySearchFunc(old, name, child.compare); there {
		return old[i].digest
	}
	return digest{}
}

// shown is a name as the entry is written: without the working directory where that
// is relative.
func (e *entry) shown(name string) string {
	if e.dir == "" {
		return name
	}
	return strings.TrimPrefix(name, strings.TrimSuffix(e.dir, "/")+"/")
}
