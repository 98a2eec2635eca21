package watch

import (
	"crypto/sha256"
	"errors"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// listing is what a look knew of a directory.
type listing struct {
	children []child // sorted by name, without the ignored
	digest   digest
	files    bool // every child is a file, and its record good
	unread   bool // it could not be read, and is what it was
}

// child is a name in a directory.
type child struct {
	name   string
	record record // if it is a file
}

// tree returns the digest of all files below a directory: over the sorted
// names in it and the digest of each. With no file below it, it is zero.
//
// A directory that no event has come from since it was last read is not read
// again, and of the files in it only those are looked at that an event was for.
// So a look costs a few system calls for each directory, and not for each file.
func (l *look) tree(at node) (digest, error) {
	id := at.inode()
	if d, ok := l.trees[id]; ok {
		return d, nil
	}
	l.trees[id] = digest{} // met again below itself, it counts for nothing
	l.places.watchAll(&at, "*")
	known, ok := l.listed[id]
	fresh := ok && !known.unread && l.places.fresh(id)
	if fresh && known.files {
		l.lists[id], l.trees[id] = known, known.digest
		return known.digest, nil
	}
	children := known.children
	if !fresh {
		names, err := l.names(at.path)
		if ok && errors.Is(err, unix.EACCES) {
			l.fault(at.path, unreadable(err))
			known.unread = true
			l.lists[id], l.trees[id] = known, known.digest
			return known.digest, nil
		}
		if err != nil {
			return digest{}, err
		}
		children = l.renew(id, children, names)
	}
	list := l.sum(at, children)
	l.lists[id], l.trees[id] = list, list.digest
	return list.digest, nil
}

// names returns the sorted names in a directory, without the ignored.
func (l *look) names(dir string) ([]string, error) {
	names, err := readNames(dir)
	return slices.DeleteFunc(names, func(name string) bool { return ignored(l.places.ignore, name) }), err
}

// renew makes children of the sorted names that are in a directory now. A file
// whose name no event has come for is what it was; one that was only renamed is
// found again by its inode.
func (l *look) renew(dir inode, old []child, present []string) []child {
	children := make([]child, len(present))
	for i, name := range present {
		for len(old) > 0 && old[0].name < name {
			l.remember(old[0])
			old = old[1:]
		}
		children[i].name = name
		if len(old) == 0 || old[0].name > name {
			continue
		}
		if l.places.freshName(dir, name) {
			children[i].record = old[0].record
		} else {
			l.remember(old[0])
		}
		old = old[1:]
	}
	for _, c := range old {
		l.remember(c)
	}
	return children
}

func (l *look) remember(c child) { l.before[c.record.inode] = c.record }

// sum digests the children of a directory.
func (l *look) sum(dir node, children []child) listing {
	list := listing{children: children, files: true}
	sum, any := sha256.New(), false
	for i := range children {
		c := &children[i]
		d := l.child(dir, c)
		list.files = list.files && c.record.good()
		if d == (digest{}) {
			continue
		}
		any = true
		sum.Write([]byte(c.name))
		sum.Write([]byte{0})
		sum.Write(d[:])
	}
	if any {
		list.digest = digest(sum.Sum(nil))
	}
	return list
}

// child returns the digest of what a name in a directory leads to. What has
// gone meanwhile, or leads nowhere, has none and is no fault: editors leave
// such symlinks as locks.
func (l *look) child(dir node, c *child) digest {
	if c.record.good() { // no event has come for it
		return c.record.digest
	}
	d, err := l.below(dir, c)
	if err != nil && !gone(err) {
		l.fault(join(dir.path, c.name), unreadable(err))
	}
	return d
}

func (l *look) below(dir node, c *child) (digest, error) {
	l.remember(*c)
	at, err := lstat(join(dir.path, c.name))
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
	}
	return l.content(at)
}

// readNames returns the sorted names in a directory.
func readNames(path string) ([]string, error) {
	f, err := os.OpenFile(path, unix.O_DIRECTORY|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	slices.Sort(names)
	return names, err
}
