package proc

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Children lists the pids of a process's children, dead ones not yet reaped
// included. A process that is gone has none.
func Children(pid int) ([]int, error) {
	tasks := fmt.Sprintf("/proc/%d/task", pid)
	threads, err := readDir(tasks)
	if err := because(pid, "list the threads of", err); err != nil {
		if gone(err) {
			return nil, nil
		}
		return nil, err
	}
	var pids []int
	for _, thread := range threads {
		b, err := readFile(tasks + "/" + thread + "/children")
		if err := because(pid, "list the children of", err); err != nil {
			if gone(err) {
				continue // the thread is: its children are another's by now
			}
			return pids, err
		}
		for _, word := range strings.Fields(string(b)) {
			n, err := strconv.Atoi(word)
			if err != nil {
				return pids, fmt.Errorf("list the children of process %d: %w", pid, err)
			}
			pids = append(pids, n)
		}
	}
	return pids, nil
}

// Tree lists a living process and all its living descendants, parents first.
// Beside an error it lists what it could.
func Tree(pid int) ([]Info, error) { return TreeWithout(pid) }

// TreeWithout is Tree without some branches, those of the processes except.
func TreeWithout(pid int, except ...int) ([]Info, error) {
	if slices.Contains(except, pid) {
		return nil, nil
	}
	info, err := Stat(pid)
	if gone(err) {
		return nil, nil
	}
	var tree []Info
	if err == nil && info.Alive() {
		tree = append(tree, info)
	}
	below, err2 := descendants(pid, except...)
	return append(tree, below...), errors.Join(err, err2)
}

// Descendants is Tree without the process itself.
func Descendants(pid int) ([]Info, error) { return descendants(pid) }

func descendants(pid int, except ...int) ([]Info, error) {
	children, err := Children(pid)
	var tree []Info
	for _, child := range children {
		branch, err2 := TreeWithout(child, except...)
		tree, err = append(tree, branch...), errors.Join(err, err2)
	}
	return tree, err
}

// Merge is all that is in one of the lists, each process once.
func Merge(lists ...[]Info) []Info {
	type id struct {
		pid     int
		started uint64
	}
	seen := make(map[id]bool)
	return slices.DeleteFunc(slices.Concat(lists...), func(i Info) bool {
		one := id{i.PID, i.Started}
		again := seen[one]
		seen[one] = true
		return again
	})
}

// Living is those in a list that still run, and those of which that cannot be
// said for an error.
func Living(list []Info) (living []Info, err error) {
	for _, was := range list {
		now, err2 := Stat(was.PID)
		switch {
		case gone(err2):
		case err2 != nil:
			living, err = append(living, was), errors.Join(err, err2)
		case now.Started == was.Started && now.Alive():
			living = append(living, now)
		}
	}
	return living, err
}

// Topmost is the first process of a tree, level by level, of which is says true;
// it is told the process's children, too. Who is gone is passed over; what
// cannot be read is an error, unless one is found all the same.
func Topmost(root int, is func(pid int, children []int) (bool, error)) (pid int, ok bool, err error) {
	for level := []int{root}; len(level) > 0; {
		var below []int
		for _, pid := range level {
			children, err2 := Children(pid)
			yes, err3 := is(pid, children)
			if yes {
				return pid, true, nil
			}
			if gone(err3) {
				err3 = nil
			}
			below, err = append(below, children...), errors.Join(err, err2, err3)
		}
		level = below
	}
	return 0, false, err
}
