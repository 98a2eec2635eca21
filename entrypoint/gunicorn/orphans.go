package gunicorn

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"strings"

	"github.com/stablehand/stablehand/internal/proc"
)

// A process that has been left behind, its parents gone, tells by what it has
// inherited whose it was. It is taken for a generation's where one of these says
// so, and for nobody's otherwise: what an operator has started beside gunicorn, or
// the container's command before it, is not ours to end.
//
//   - GUNICORN_PID in its environment is the old master's pid for all that a
//     successor starts until it is promoted, for what is forked without an exec for
//     ever.
//   - gunicorn puts SERVER_SOFTWARE into its own environment as it starts, and so
//     into that of all that it starts.
//   - What gunicorn has forked, and has exec'd nothing, has its command line.
//   - What holds a socket on which gunicorn listens has it from gunicorn, where we
//     have not got it ourselves to hand on.
//
// The last three do not tell one generation from the next. Before a successor is
// asked for there is no other; from then on they count only where it is clear from
// the first that they are not the successor's.
//
// A generation that was begun afresh, with sockets of its own, has a mark of its own,
// too. Then that says it, and who holds one of these sockets where the mark cannot be
// read, or was written over, and nothing else.
const (
	parentVariable   = "GUNICORN_PID"
	softwareVariable = "SERVER_SOFTWARE"
)

// Marked is an environment with a mark, and none from before.
func Marked(env []string, mark string) []string {
	others := slices.DeleteFunc(slices.Clone(env), func(entry string) bool { return strings.HasPrefix(entry, MarkVariable+"=") })
	return append(others, MarkVariable+"="+mark)
}

// software is what a gunicorn that is the command itself finds in SERVER_SOFTWARE,
// which it replaces by its own name and version once its configuration file has
// been read: so it marks what that starts.
const software = "gunicorn"

// Mark is an environment for a command that makes known what gunicorn starts, where
// the command is gunicorn and nothing else comes before it.
func Mark(env, argv []string) []string {
	if !isGunicorn(argv) || slices.ContainsFunc(env, func(entry string) bool { return strings.HasPrefix(entry, softwareVariable+"=") }) {
		return env
	}
	return append(slices.Clone(env), softwareVariable+"="+software)
}

// meet takes note of what a master has come with. Its children that are not
// gunicorn's own were there before it: those of a script that has become gunicorn.
func (m *Master) meet(isCommand bool, argv []string) {
	if m.mark != "" {
		return // all that was begun with it is its own
	}
	m.title, _ = proc.Cmdline(m.PID()) // what cannot be read proves nothing
	m.direct = isCommand && isDirect(m.title, argv)
	old, _ := parentMaster(m.PID())
	if m.direct || old > 0 {
		return // all that it has is its own
	}
	children, _ := proc.Children(m.PID())
	for _, pid := range children {
		if ours, _ := m.carriesMark(pid); ours {
			continue
		}
		if info, err := proc.Stat(pid); err == nil {
			m.beside = append(m.beside, info)
		}
	}
}

// isDirect says whether a command line is that of argv, from its first instant,
// and not of what argv has become. The kernel puts a script's interpreter before
// it.
func isDirect(line, argv []string) bool {
	if len(argv) == 0 || len(line) < len(argv) {
		return false
	}
	tail := line[len(line)-len(argv):]
	file, _ := exec.LookPath(argv[0])
	return (tail[0] == argv[0] || tail[0] == file) && slices.Equal(tail[1:], argv[1:])
}

// orphans lists what has been left behind by processes of the generation, with all
// that is below it.
func (m *Master) orphans() ([]proc.Info, error) {
	if title, _ := proc.Cmdline(m.PID()); !m.Dead() && len(title) > 0 {
		m.title = title
	}
	if m.own != nil && m.reigns() && m.next.Load() != nil {
		return nil, nil // it could not be told from what others have left there
	}
	children, err := proc.Children(m.heirs())
	var orphans []proc.Info
	for _, pid := range children {
		if pid == m.PID() {
			continue // once it is promoted; its tree is listed anyway
		}
		left, err2 := m.hasLeft(pid)
		if left {
			tree, err3 := m.treeOf(pid)
			orphans, err2 = append(orphans, tree...), errors.Join(err2, err3)
		}
		err = errors.Join(err, err2)
	}
	return orphans, err
}

// reigns says whether the master was the first, or has been promoted: what its
// predecessor had was ended before.
func (m *Master) reigns() bool { return m.parent == 0 || m.promoted.Load() }

// hasLeft says whether a process has been left behind by the generation.
func (m *Master) hasLeft(pid int) (bool, error) {
	if m.mark != "" {
		return m.carriesMark(pid)
	}
	old, err := parentMaster(pid)
	hidden := errors.Is(err, fs.ErrPermission)
	switch {
	case errors.Is(err, os.ErrProcessDone):
		return false, nil
	case err != nil && !hidden:
		return false, err
	case old == m.PID():
		return false, nil // the successor has
	case old != 0 && old == m.parent:
		return m.isOwn(pid), nil
	case !m.reigns():
		return false, nil
	case m.next.Load() == nil:
		return m.carriesMark(pid)
	case hidden:
		return false, nil
	}
	// A successor's fork would name us, unless its title has been written over that.
	if fork, err := m.isFork(pid); err != nil || fork {
		return fork && titleOf(m.title) == "", err
	}
	// What a successor has started would, too, until it is promoted.
	marked, err := m.isMarked(pid)
	return marked && !m.Dead() && proc.Alive(m.PID()), err
}

// carriesMark says whether a process is gunicorn's by anything that it has
// inherited, the generations aside.
func (m *Master) carriesMark(pid int) (bool, error) {
	if m.mark != "" {
		value, err := markOf(pid)
		if value == m.mark || unless(err) != nil {
			return value == m.mark, err
		}
		if value != "" {
			return false, nil // another generation's
		}
	} else if m.own == nil {
		fork, err := m.isFork(pid)
		if err != nil || fork {
			return fork, err
		}
		marked, err := m.isMarked(pid)
		if err != nil || marked {
			return marked, err
		}
	}
	return m.holdsSocket(pid)
}

// isFork says whether a process is a fork of gunicorn's, and no master.
func (m *Master) isFork(pid int) (bool, error) {
	line, err := proc.Cmdline(pid)
	if err != nil || !m.hasTitle(line) {
		return false, unless(err)
	}
	return !handlesAll(pid), nil
}

// hasTitle says whether a command line is that of a process of the master's.
func (m *Master) hasTitle(line []string) bool {
	if len(line) == 0 {
		return false
	}
	return slices.Equal(line, m.title) || titleOf(line) != "" && titleOf(line) == titleOf(m.title)
}

// titleOf is the name in a command line that setproctitle has written: "gunicorn:
// worker [app:app]", with .2 after it until the master is promoted.
func titleOf(line []string) string {
	if len(line) == 0 || !strings.HasPrefix(line[0], "gunicorn: ") {
		return ""
	}
	_, name, _ := strings.Cut(line[0], "[")
	return strings.TrimSuffix(strings.TrimSuffix(name, "]"), ".2")
}

// isMarked says whether gunicorn's SERVER_SOFTWARE is in a process's environment,
// and no other gunicorn is there that could have put it there.
func (m *Master) isMarked(pid int) (bool, error) {
	value, err := proc.Environ(pid, softwareVariable)
	switch {
	case err != nil:
		return false, unless(err)
	case value == os.Getenv(softwareVariable): // empty, or as everything has it here
		return false, nil
	case !strings.HasPrefix(value, "gunicorn/") && (value != software || !m.direct):
		return false, nil
	}
	return m.isAlone()
}

// isAlone says whether no gunicorn is below us but the master and its successor.
func (m *Master) isAlone() (bool, error) {
	known := []*Master{m}
	if next := m.next.Load(); next != nil {
		known = append(known, next)
	}
	strays, err := Strays(known)
	return err == nil && len(strays) == 0, err
}

// holdsSocket says whether a process holds a socket on which the master listens.
func (m *Master) holdsSocket(pid int) (bool, error) {
	descriptors, err := proc.Descriptors(pid)
	if err != nil {
		return false, unless(err)
	}
	if err := m.learnSockets(); err != nil {
		return false, err
	}
	return slices.ContainsFunc(descriptors, func(d proc.Descriptor) bool { return slices.Contains(m.sockets, d.Target) }), nil
}

// learnSockets notes on which sockets the master listens, but for those that we have
// given it, and whoever else we have started. What it knew of one that has ended
// stays true.
func (m *Master) learnSockets() error {
	if m.mark != "" {
		return nil // they were given to it
	}
	sockets, err := proc.Listening(m.PID())
	if err != nil || m.Dead() || len(sockets) == 0 {
		return unless(err)
	}
	ours, err := proc.Descriptors(os.Getpid())
	if err != nil {
		return err
	}
	m.sockets = slices.DeleteFunc(sockets, func(target string) bool {
		return slices.ContainsFunc(ours, func(o proc.Descriptor) bool { return o.Target == target })
	})
	return nil
}

// unless is an error unless it means that a process has gone, or that we may not
// look at it: both prove nothing.
func unless(err error) error {
	if errors.Is(err, os.ErrProcessDone) || errors.Is(err, fs.ErrPermission) {
		return nil
	}
	return err
}
