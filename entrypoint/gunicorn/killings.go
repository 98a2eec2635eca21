package gunicorn

import (
	"time"

	"golang.org/x/sys/unix"

	"github.com/stablehand/stablehand/internal/proc"
	"github.com/stablehand/stablehand/reaper"
)

// killings tells which of the processes that end were killed by the kernel for want of
// memory. It goes by how many the kernel has killed in their control group: that may have
// been another generation's process, and one of this somebody else's victim at the same
// time.
type killings struct {
	more func() int64 // how many there were since the last call; nil before a master was seen
	left int64        // those of which nobody knows yet who it was
	at   time.Time    // when the last of them was seen
}

// diesIn is how long a process may take to end that the kernel has killed for want of
// memory: until then the kernel has to give back what it had. Who ends later was none.
const diesIn = 5 * time.Second

// countFor begins to count, unless it has, those of the control group of a process.
func (k *killings) countFor(pid int) {
	if k.more == nil {
		k.more = proc.CountKillings(pid).More
	}
}

// look notes how many the kernel has killed, and forgets those that have ended and were
// none of ours.
func (k *killings) look() {
	now := time.Now()
	if now.Sub(k.at) > diesIn {
		k.left = 0
	}
	if k.more == nil {
		return
	}
	if more := k.more(); more > 0 {
		k.left, k.at = k.left+more, now
	}
}

// took says whether a process that has ended so is one of them: it may have been killed,
// and there is one of the last seconds of which nobody knows yet who it was.
func (k *killings) took(how reaper.Status) bool {
	if how.Known() && how.Signal() != unix.SIGKILL {
		return false
	}
	if k.look(); k.left == 0 {
		return false
	}
	k.left--
	return true
}
