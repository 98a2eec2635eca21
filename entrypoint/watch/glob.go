package watch

import (
	"crypto/sha256"
	"hash"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// isGlob says whether a path has to be matched rather than followed.
func isGlob(path string) bool { return strings.ContainsAny(path, `*?[\`) }

// Literal takes their meaning from all characters of a name, so that as a pattern
// it matches itself.
func Literal(name string) string { return literal.Replace(name) }

var literal = strings.NewReplacer(`*`, `\*`, `?`, `\?`, `[`, `\[`, `\`, `\\`)

// matching is one walk to what a glob matches.
type matching struct {
	*look
	of   *entry
	sum  hash.Hash
	any  bool
	been map[visit]bool // where ** has been; also breaks symlink loops
}

// visit is a directory and how much of the glob was still to be matched there.
type visit struct {
	inode
	left int
}

// glob returns the digest of all that a glob matches: of files, and of
// directories with all below them. With no match it is ENOENT.
func (l *look) glob(e *entry) (digest, error) {
	defer func() { l.matched = match{} }()
	parts := strings.Split(strings.Trim(e.full, "/"), "/")
	m := matching{look: l, of: e, sum: sha256.New(), been: make(map[visit]bool)}
	root, err := l.lstat("/")
	if err != nil {
		return digest{}, err
	}
	if err := m.walk(root, "", parts); err != nil && !gone(err) {
		return digest{}, err
	}
	if !m.any {
		return digest{}, unix.ENOENT
	}
	l.unmatched(e)
	return digest(m.sum.Sum(nil)), nil
}

// walk matches the parts of a glob below a directory. The name is that of the
// directory before symlinks were followed: it counts, not where they lead.
func (m *matching) walk(at node, name string, parts []string) error {
	if len(parts) == 0 {
		return m.match(at, name)
	}
	if at.kind() != unix.S_IFDIR {
		return nil
	}
	part, rest := parts[0], parts[1:]
	if !isGlob(part) {
		child, err := m.resolve(at.path, part)
		if err != nil {
			return err
		}
		return m.walk(child, join(name, part), rest)
	}
	if part == "**" {
		return m.anyDepth(at, name, parts)
	}
	return m.each(at, part, func(child node, base string) error {
		return m.walk(child, join(name, base), rest)
	})
}

// anyDepth matches parts that begin with **: with no directory for it, or with
// each directory here and ** again. A directory that is reached on two ways
// counts once, under the first name.
func (m *matching) anyDepth(at node, name string, parts []string) error {
	here := visit{at.inode(), len(parts)}
	if m.been[here] {
		return nil
	}
	m.been[here] = true
	if err := m.walk(at, name, parts[1:]); err != nil && !gone(err) {
		return err
	}
	return m.each(at, "*", func(child node, base string) error {
		return m.walk(child, join(name, base), parts)
	})
}

// each calls f for every name in a directory that matches one part of a glob.
// What can't be read is one match less, and a fault.
func (m *matching) each(dir node, part string, f func(child node, base string) error) error {
	m.places.watchAll(&dir, part)
	names, err := m.readNames(dir.path)
	if err != nil {
		return err
	}
	for _, base := range names {
		if ok, _ := path.Match(part, base); !ok || !m.matters(dir, base) {
			continue
		}
		if err := m.ctx.Err(); err != nil {
			return err
		}
		child, err := m.resolve(dir.path, base)
		if err == nil {
			err = f(child, base)
		}
		if err != nil && !gone(err) {
			m.fault(join(dir.path, base), unreadable(err))
		}
	}
	return nil
}

func (m *matching) match(at node, name string) error {
	m.matched = match{m.of.full, at.path}
	m.name = m.of.shown(name)
	d, err := m.content(at)
	if err != nil || d == (digest{}) {
		return err
	}
	m.any = true
	if m.leaf {
		m.reach(m.of, m.name, d)
	}
	m.mounted(at)
	m.found(at)
	m.sum.Write([]byte(name))
	m.sum.Write([]byte{0})
	m.sum.Write(d[:])
	return nil
}
