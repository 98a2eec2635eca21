package gunicorn

import (
	"fmt"
	"strings"

	"github.com/stablehand/stablehand/reaper"
)

// tally is how often processes have ended in each way.
type tally []counted

type counted struct {
	ending
	times int
}

// ending is how a process has ended.
type ending struct {
	how       reaper.Status
	oomKilled bool // the kernel has killed for want of memory then, and may have killed it
}

func (e ending) String() string {
	switch {
	case !e.oomKilled:
		return e.how.String()
	case !e.how.Known():
		return e.how.String() + ", as the kernel killed for want of memory"
	}
	return e.how.String() + ", out of memory"
}

func (t *tally) add(e ending) {
	for i := range *t {
		if (*t)[i].ending == e {
			(*t)[i].times++
			return
		}
	}
	*t = append(*t, counted{e, 1})
}

func (t tally) total() (n int) {
	for _, e := range t {
		n += e.times
	}
	return n
}

// oomKilled is how many of them the kernel has killed for want of memory.
func (t tally) oomKilled() (n int) {
	for _, e := range t {
		if e.oomKilled {
			n += e.times
		}
	}
	return n
}

// String is such as "exit code 1 (3 workers), killed by SIGKILL".
func (t tally) String() string {
	var words []string
	for _, e := range t {
		text := e.String()
		if e.times > 1 {
			text += fmt.Sprintf(" (%d workers)", e.times)
		}
		words = append(words, text)
	}
	return strings.Join(words, ", ")
}
