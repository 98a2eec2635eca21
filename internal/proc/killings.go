package proc

import (
	"path"
	"strconv"
	"strings"
	"sync"
)

// Killings counts the processes of a control group that the kernel has killed for want of
// memory, be it the group's own that there was not enough of, that of one above it, or the
// machine's. It may be used from any goroutine.
type Killings struct {
	mu    sync.Mutex
	file  string // empty where nothing is told
	known int64
}

// CountKillings begins to count those of the control group of a process. Where that cannot
// be seen there never are any.
func CountKillings(pid int) *Killings {
	for _, dir := range groupsOf(pid, "memory") {
		for _, name := range []string{"memory.events", "memory.oom_control"} { // of version 2, and of 1 since Linux 4.13
			file := path.Join(dir, name)
			if n, ok := killedIn(file); ok {
				return &Killings{file: file, known: n}
			}
		}
	}
	return new(Killings)
}

// More is how many there were since it was asked last, or has begun to count. A process
// that has ended so is among them: the kernel counts it first.
func (k *Killings) More() int64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	n, ok := killedIn(k.file)
	if !ok {
		return 0
	}
	more := n - k.known
	k.known = n
	return more
}

// killedIn is the field oom_kill of a file.
func killedIn(file string) (n int64, ok bool) {
	if file == "" {
		return 0, false
	}
	b, err := readFile(file)
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(b)) {
		if text, is := strings.CutPrefix(line, "oom_kill "); is {
			n, err = strconv.ParseInt(strings.TrimSpace(text), 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}
