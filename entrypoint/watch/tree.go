package watch

import (
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"slices"
	"sort"
	"strings"

	"golang.org/x/sys/unix"
)

// listing is what a look knew of a directory.
type listing struct {
	children []child // sorted by name, without the ignored
	digest   digest  // of the children
	files    bool    // every child is a file, and its record good
	unread   bool    // it could not be read, and is what it was
}

// child is a name in a directory.
type child struct {
	name   string
	record record // if it is a file
	digest digest // of what it leads to; zero if that counts for nothing
	came   bool   // the name is new, and was not looked at yet
}

func (c child) compare(name string) int { return strings.Compare(c.name, name) }

// tree returns the digest of all files below a directory: over the sorted
// names in it and the digest of each. With no file below it, it is zero.
//
// A directory that no event has come from since it was last read is not read
// again; where events have come for some names in it, only these are looked up,
// and of the files in it only those are looked at. So a look costs a few system
// calls for each directory and each event, and not for each file.
func (l *look) tree(at node) (digest, error) {
	id := at.inode()
	if d, ok := l.trees[id]; ok {
		return d, nil
	}
	l.trees[id] = digest{} // met again below itself, it counts for nothing
	l.places.watchAll(&at, "*")
	l.mountedIn(at)
	list, ok := l.lists[id] // below another entry, too
	if !ok {
		list, ok = l.listed[id]
	}
	news, all := l.places.news(id)
	old, other := l.replaced(id)
	moved := false
	removed := at.stat.Nlink == 0 // and mounted here: no event tells, reading it does
	switch {
	case !ok || all || list.unread || removed:
		names, err := l.names(at)
		list.unread = ok && errors.Is(err, unix.EACCES)
		if list.unread {
			l.fault(at.path, unreadable(err))
			l.lists[id], l.trees[id] = list, list.digest
			return list.digest, nil
		}
		if err != nil {
			return digest{}, err
		}
		list.children, moved = l.renew(at, list.children, names), true
		if !ok { // none is newer than the directory
			for i := range list.children {
				list.children[i].came = false
			}
		}
	case len(news) > 0:
		list.children, moved = l.amend(at, list.children, news)
	case list.files && !other:
		l.lists[id], l.trees[id] = list, list.digest
		return list.digest, nil
	}
	outer := l.moved
	l.moved = outer || other
	changed := l.update(at, &list, old)
	l.moved = outer
	if changed || moved {
		list.digest = sum(list.children)
	}
	if other {
		l.turnedIn(old, &list)
	}
	l.lists[id], l.trees[id] = list, list.digest
	return list.digest, nil
}

// names returns the sorted names in a directory, without the ignored.
func (l *look) names(dir node) ([]string, error) {
	names, err := l.readNames(dir.path)
	return slices.DeleteFunc(names, func(name string) bool { return !l.matters(dir, name) }), err
}

// renew makes children of the sorted names that are in a directory now. A file
// whose name no event has come for is what it was; one that was only renamed is
// found again by its inode.
func (l *look) renew(dir node, old []child, present []string) []child {
	children := make([]child, len(present))
	for i, name := range present {
		for len(old) > 0 && old[0].name < name {
			l.leaves(dir, old[0])
			old = old[1:]
		}
		children[i].name = name
		if len(old) == 0 || old[0].name > name {
			children[i].came = true
			continue
		}
		if l.places.freshName(dir.inode(), name) {
			children[i] = old[0]
		} else {
			l.remember(old[0])
			children[i].digest = old[0].digest
		}
		old = old[1:]
	}
	for _, c := range old {
		l.leaves(dir, c)
	}
	return children
}

// amend brings children up to date by looking up only those names that events
// have come for. It says whether any came or went.
func (l *look) amend(dir node, children []child, news names) ([]child, bool) {
	var came []child
	left := make(names)
	for name := range news {
		if !l.matters(dir, name) {
			continue
		}
		i, known := slices.BinarySearchFunc(children, name, child.compare)
		if known {
			l.remember(children[i])
			children[i].record = record{}
		}
		_, err := l.lstat(join(dir.path, name))
		switch {
		case known && gone(err):
			left[name] = true
			l.leaves(dir, children[i])
		case !known && !gone(err):
			came = append(came, child{name: name, came: true})
		}
	}
	if len(came)+len(left) == 0 {
		return children, false
	}
	children = slices.DeleteFunc(slices.Concat(children, came), func(c child) bool { return left[c.name] })
	sort.Slice(children, func(i, j int) bool { return children[i].name < children[j].name })
	return children, true
}

func (l *look) remember(c child) { l.before[c.record.inode] = c.record }

// update looks at those children that may have changed, and says whether any
// has another digest than before.
//
// Old are the children of the directory that had the name of this one, if there was
// another.
func (l *look) update(dir node, list *listing, old []child) (moved bool) {
	list.files = true
	for i := range list.children {
		c := &list.children[i]
		if c.record.good() { // no event has come for it
			continue
		}
		if l.ctx.Err() != nil {
			break
		}
		before := c.digest
		if old != nil {
			before = childBefore(old, c.name)
		}
		d := l.named(dir, c, before)
		moved = moved || d != c.digest
		c.digest = d
		list.files = list.files && c.record.good()
	}
	return moved
}

// named is the digest of a child. Where it is a file that is other than it was, it
// was written, be it under another name. Before is what its name led to.
func (l *look) named(dir node, c *child, before digest) digest {
	outer, name := l.newName, l.name
	defer func() { l.newName, l.name = outer, name }()
	l.name = join(name, c.name)
	if c.came && outer == "" {
		l.newName = join(dir.path, c.name)
	}
	c.came = false
	l.leaf = false
	d := l.child(dir, c)
	switch {
	case l.leaf:
		l.turned("", before, d)
	case d == digest{}:
		l.lost("", before)
	}
	if d != c.digest && c.record.inode != (inode{}) {
		l.wrote(join(dir.path, c.name))
	}
	return d
}

// sum digests the children of a directory.
func sum(children []child) digest {
	sum, any := sha256.New(), false
	var line []byte
	for i := range children {
		c := &children[i]
		if c.digest == (digest{}) {
			continue
		}
		any = true
		line = append(append(line[:0], c.name...), 0)
		line = append(line, c.digest[:]...)
		sum.Write(line)
	}
	if !any {
		return digest{}
	}
	return digest(sum.Sum(nil))
}

// child returns the digest of what a name in a directory leads to. What has
// gone meanwhile, or leads nowhere, has none and is no fault: editors leave
// such symlinks as locks.
func (l *look) child(dir node, c *child) digest {
	d, err := l.below(dir, c)
	if err != nil && !gone(err) {
		l.fault(join(dir.path, c.name), unreadable(err))
	}
	return d
}

func (l *look) below(dir node, c *child) (digest, error) {
	l.remember(*c)
	at, err := l.lstat(join(dir.path, c.name))
	if err != nil {
		return digest{}, err
	}
	switch at.kind() {
	case unix.S_IFREG:
		c.record, err = l.file(at)
		return c.record.digest, err
	case unix.S_IFLNK:
		if at, err = l.resolve(dir.path, c.name); err != nil {
			return digest{}, err
		}
		l.mounted(at)
	}
	return l.content(at)
}

// someNames is how many names are asked for at once: few enough that a file
// system that is only slow answers in time.
const someNames = 1000

// readNames returns the sorted names in a directory.
func (l *look) readNames(path string) ([]string, error) {
	var f *os.File
	err := l.ask(path, func() (err error) {
		f, err = os.OpenFile(path, unix.O_DIRECTORY|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0)
		return err
	})
	if err != nil {
		return nil, err
	}
	defer func() { _ = l.ask(path, f.Close) }() // asked since it may hang; it was only read
	var names []string
	for err == nil {
		var some []string
		err = l.ask(path, func() (err error) {
			some, err = f.Readdirnames(someNames)
			return err
		})
		names = append(names, some...)
	}
	slices.Sort(names)
	if err == io.EOF {
		err = nil
	}
	return names, err
}
