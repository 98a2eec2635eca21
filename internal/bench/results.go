package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// entry is a line of the file: one of its fields is there.
type entry struct {
	Machine  *machine  `json:",omitempty"`
	Trial    *trial    `json:",omitempty"`
	Standing *standing `json:",omitempty"`
}

// machine is where, when and by which command.
type machine struct {
	Date, Processor, Kernel, Python string
	Processors                      int
	GB                              float64
	Packages                        string // versions of the servers
	Command                         string
}

// results are all that the file has.
type results struct {
	machine   machine
	trials    []trial
	standings []standing
}

func readResults(path string) (*results, error) {
	r := &results{}
	text, err := os.ReadFile(path)
	if err != nil {
		return r, err
	}
	for line := range bytes.Lines(text) {
		var e entry
		if err := json.Unmarshal(line, &e); err != nil {
			return r, fmt.Errorf("read %s: %w", path, err)
		}
		switch {
		case e.Machine != nil:
			r.machine = *e.Machine
		case e.Trial != nil:
			r.trials = append(r.trials, *e.Trial)
		case e.Standing != nil:
			r.standings = append(r.standings, *e.Standing)
		}
	}
	return r, nil
}

// record appends a line.
func record(path string, e entry) error {
	line, err := json.Marshal(e)
	if err != nil {
		return err
	}
	return appendLine(path, line)
}

func appendLine(path string, line []byte) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	_, err = file.Write(append(line, '\n'))
	return errors.Join(err, file.Close())
}

func (r *results) tried(w way, app application, round int) bool {
	for _, t := range r.of(w, app.String()) {
		if t.Round == round {
			return true
		}
	}
	return false
}

// of are the trials of a way with an application.
func (r *results) of(w way, app string) (trials []trial) {
	for _, t := range r.trials {
		if t.Way == w.key && t.App == app {
			trials = append(trials, t)
		}
	}
	return trials
}

func (r *results) standing(w way) *standing {
	for i := range r.standings {
		if r.standings[i].Way == w.key {
			return &r.standings[i]
		}
	}
	return nil
}

// apps are the applications, in the order in which they were tried.
func (r *results) apps() (apps []string) {
	seen := map[string]bool{}
	for _, t := range r.trials {
		if !seen[t.App] {
			apps = append(apps, t.App)
		}
		seen[t.App] = true
	}
	return apps
}

func thisMachine(o options) *machine {
	m := &machine{Date: time.Now().UTC().Format(time.DateOnly), Processors: runtime.NumCPU(), Command: "make bench"}
	if info, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if found := regexp.MustCompile(`(?m)^model name\s*: (.*)$`).FindSubmatch(info); found != nil {
			m.Processor = string(found[1])
		}
	}
	var name unix.Utsname
	if unix.Uname(&name) == nil {
		m.Kernel = unix.ByteSliceToString(name.Release[:])
	}
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) == nil {
		m.GB = float64(info.Totalram) * float64(info.Unit) / (1 << 30)
	}
	out, _ := exec.Command(filepath.Join(o.envs, "servers/bin/python"), "-c", "import platform; print(platform.python_version())").Output()
	m.Python = strings.TrimSpace(string(out))
	packages, _ := os.ReadFile(filepath.Join(o.envs, "servers/complete"))
	m.Packages = strings.TrimSpace(strings.ReplaceAll(string(packages), "==", " "))
	return m
}
