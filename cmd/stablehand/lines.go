package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/stablehand/stablehand/internal/deaf"
	"github.com/stablehand/stablehand/internal/pattern"
	"github.com/stablehand/stablehand/internal/proc"
)

// gunicorn writes to the standard error that it has from stablehand, or to a file of its
// own, and not through stablehand: nothing is to be between them that can fail. So its
// lines can be shown where they go to a file, and else it is only known where they are.

// logged is a file that gunicorn may write to, and where its end was.
type logged struct {
	path string
	end  int64
}

// logsOf are the files in which a process has its log, as far as they can be seen.
func logsOf(pid int) (logs []logged) {
	paths, err := proc.Appended(pid)
	if err != nil {
		return nil
	}
	for _, path := range paths {
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			logs = append(logs, logged{path, info.Size()})
		}
	}
	return logs
}

// inTime is what f finds on file systems that may not answer, or nothing once ctx ends.
func inTime[T any](ctx context.Context, f func() T) (found T) {
	answered := make(chan T, 1)
	go deaf.Call(func() { answered <- f() })
	select {
	case found = <-answered:
	case <-ctx.Done():
	}
	return found
}

// mostRead is how much is read of what has been written since, from its end.
const mostRead = 1 << 20

// since is what has been written since then.
func (l logged) since() []string {
	file, err := os.Open(l.path)
	if err != nil {
		return nil
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil
	}
	from := l.end
	if info.Size() < from {
		from = 0 // it was begun anew
	}
	text, err := io.ReadAll(io.NewSectionReader(file, max(from, info.Size()-mostRead), mostRead))
	if err != nil {
		return nil
	}
	return strings.Split(strings.TrimRight(string(text), "\n"), "\n")
}

// mostShown is how many lines are shown.
const mostShown = 20

// lastLines are those that tell why gunicorn has failed, of the first file that has
// such: the last exception, or else its last lines but those that only inform. Those of
// the processes that serve tell of something else. Path is empty where there are none.
func lastLines(logs []logged, serving []int) (path string, lines []string) {
	for _, log := range logs {
		if lines := exception(gunicorns(log.since(), serving)); len(lines) > 0 {
			return log.path, shortened(lines)
		}
	}
	for _, log := range logs {
		if lines := complaints(gunicorns(log.since(), serving)); len(lines) > 0 {
			return log.path, lines[max(len(lines)-mostShown, 0):]
		}
	}
	return "", nil
}

var (
	// own begins a line of stablehand's, as each of its formats has it.
	own = pattern.New(`^(time=\S+ level=|\{"time":"[^"]*","level":|(\x1b\[\d+m)?\d\d:\d\d:\d\d\.\d{3} )`)

	// stamped begins any line of gunicorn's log, with who wrote it and how grave it is.
	stamped = pattern.New(`^\[[^]]+\] \[(\d+)\] \[([A-Z]+)\] ?`)

	// access is a line of its log of requests, as that is by default.
	access = pattern.New(`^\S+ \S+ \S+ \[[^]]+\] "`)
)

// invalid begins what gunicorn says of a wrong setting, before it has a log.
const invalid = "Error: "

// gunicorns are the lines that are neither stablehand's nor of requests, nor those that
// a process among serving has stamped as a complaint, with what follows them.
func gunicorns(lines []string, serving []int) []string {
	theirs := false
	return slices.DeleteFunc(lines, func(line string) bool {
		if line == "" || own().MatchString(line) || access().MatchString(line) {
			return true
		}
		theirs = theirs && !strings.HasPrefix(line, invalid)
		if stamp := stamped().FindStringSubmatch(line); stamp != nil {
			pid, _ := strconv.Atoi(stamp[1])
			theirs = !informs(stamp[2]) && slices.Contains(serving, pid)
		}
		return theirs
	})
}

func informs(level string) bool { return level == "INFO" || level == "DEBUG" }

// mostBelow is how many lines below a stamped one are taken for its own: more may be a
// log of requests that is not as by default.
const mostBelow = 3

// complaints are the lines that do more than inform, if one is among them that is
// stamped as a complaint.
func complaints(lines []string) (said []string) {
	grave, below := false, 0
	for _, line := range lines {
		stamp := stamped().FindStringSubmatch(line)
		switch below++; {
		case strings.HasPrefix(line, invalid):
			grave, below = true, 0
		case stamp != nil && informs(stamp[2]):
			below = 0
			continue
		case stamp != nil:
			grave, below = true, 0
		case below > mostBelow:
			continue
		}
		said = append(said, line)
	}
	if !grave {
		return nil
	}
	return said
}

// exception is the last of Python's, with the line before it, which says whose it is:
// of those that have kept a worker from its start, if there is one. It ends with the
// first line that is not indented, which is what was raised.
func exception(lines []string) []string {
	const header = "Traceback (most recent call last):"
	within := lines
	for i, line := range slices.Backward(lines) {
		if strings.HasSuffix(line, "] [ERROR] Exception in worker process") {
			end := slices.IndexFunc(lines[i+1:], stamped().MatchString)
			if end < 0 {
				end = len(lines) - i - 1
			}
			within = lines[:i+1+end]
			break
		}
	}
	at := len(within) - 1
	for ; at >= 0 && within[at] != header; at-- {
	}
	if at < 0 {
		return nil
	}
	end := at + 1
	for ; end < len(lines) && strings.HasPrefix(lines[end], " "); end++ {
	}
	end = min(end+1, len(lines))
	if at > 0 && stamped().MatchString(lines[at-1]) {
		at--
	}
	return lines[at:end]
}

// shortened leaves out the middle of what is long: where it began, and what was raised,
// tell the most.
func shortened(lines []string) []string {
	if len(lines) <= mostShown {
		return lines
	}
	const head = 2
	left := len(lines) - mostShown
	return slices.Concat(lines[:head], []string{fmt.Sprintf("  … %d lines …", left+1)}, lines[head+left+1:])
}

// whereLines says where the lines are that a stablehand's standard error takes.
func whereLines(pid int) string {
	to, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/2", pid))
	_, inDocker := os.Stat("/.dockerenv")
	environ, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	has := func(name string) bool {
		return bytes.HasPrefix(environ, []byte(name+"=")) || bytes.Contains(environ, []byte("\x00"+name+"="))
	}
	switch {
	case err == nil && strings.HasPrefix(to, "/dev/") && to != os.DevNull:
		return "on the terminal " + to
	case err == nil && to == os.DevNull:
		return "nowhere: its standard error is " + os.DevNull
	case err == nil && strings.HasPrefix(to, "/"):
		return "in " + strings.TrimSuffix(to, " (deleted)")
	case strings.HasPrefix(to, "socket:") && has("JOURNAL_STREAM"):
		return "in the journal: journalctl" + unitOf(pid)
	case has("KUBERNETES_SERVICE_HOST"):
		return "in the log: kubectl logs"
	case inDocker == nil:
		return "in the log: docker logs"
	}
	return "in the log"
}

// unitOf is how journalctl is told which unit of systemd's a process is of.
func unitOf(pid int) string {
	groups, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(groups)) {
		if unit := path.Base(strings.TrimSpace(line)); strings.HasSuffix(unit, ".service") {
			return " --unit=" + unit
		}
	}
	return ""
}
