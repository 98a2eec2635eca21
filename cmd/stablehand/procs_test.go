package main_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// proc is a process as /proc shows it.
type proc struct {
	pid, ppid int
	state     string // R, S, D, Z, …
	comm      string
	line      string // its command line
}

// String leaves out whether a live process runs or sleeps, so that two
// listings of the same processes are the same.
func (p proc) String() string {
	line := fmt.Sprintf("pid=%d ppid=%d comm=%s line=%q", p.pid, p.ppid, p.comm, p.line)
	if p.zombie() {
		line += " zombie"
	}
	return line
}

func (p proc) zombie() bool { return p.state == "Z" || p.state == "X" }

// over says whether a process has ended with all of its threads: the first of them may be
// a zombie while others still hold its files open.
func over(pid int) bool {
	dir := fmt.Sprintf("/proc/%d", pid)
	p, err := readProc(dir)
	if err != nil {
		return true
	}
	threads, err := os.ReadDir(filepath.Join(dir, "task"))
	return p.zombie() && err == nil && len(threads) <= 1
}

// gunicorn says whether this is a master or a worker.
func (p proc) gunicorn() bool {
	return strings.HasPrefix(p.comm, "gunicorn") || strings.HasPrefix(p.comm, "python") && strings.Contains(p.line, "gunicorn")
}

// tree lists the process and all its descendants. Every process of a PID
// namespace descends from its PID 1, so the tree of that one is all there is.
func tree(root int) []proc {
	children := map[int][]proc{}
	var found []proc
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, stat := range stats {
		p, err := readProc(filepath.Dir(stat))
		if err != nil {
			continue // gone meanwhile
		}
		children[p.ppid] = append(children[p.ppid], p)
		if p.pid == root {
			found = append(found, p)
		}
	}
	for i := 0; i < len(found); i++ {
		found = append(found, children[found[i].pid]...)
	}
	return found
}

// readProc reads what /proc/PID tells everybody.
func readProc(dir string) (proc, error) {
	stat, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return proc{}, err
	}
	// "pid (comm) state ppid …"; comm may hold spaces and parentheses.
	open, end := bytes.IndexByte(stat, '('), bytes.LastIndexByte(stat, ')')
	rest := strings.Fields(string(stat[end+1:]))
	p := proc{comm: string(stat[open+1 : end]), state: rest[0]}
	p.pid, _ = strconv.Atoi(filepath.Base(dir))
	p.ppid, _ = strconv.Atoi(rest[1])
	line, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
	p.line = strings.TrimSpace(strings.ReplaceAll(string(line), "\x00", " "))
	return p, nil
}
