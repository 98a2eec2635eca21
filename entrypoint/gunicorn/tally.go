package gunicorn

import (
	"fmt"
	"strings"

	"github.com/stablehand/stablehand/reaper"
)

// tally is how often processes have ended in each way.
type tally []ending

type ending struct {
	how   reaper.Status
	times int
}

func (t *tally) add(how reaper.Status) {
	for i := range *t {
		if (*t)[i].how == how {
			(*t)[i].times++
			return
		}
	}
	*t = append(*t, ending{how, 1})
}

func (t tally) total() (n int) {
	for _, e := range t {
		n += e.times
	}
	return n
}

// String is such as "exit code 1 (3 workers), killed by SIGKILL".
func (t tally) String() string {
	var words []string
	for _, e := range t {
		text := e.how.String()
		if e.times > 1 {
			text += fmt.Sprintf(" (%d workers)", e.times)
		}
		words = append(words, text)
	}
	return strings.Join(words, ", ")
}
