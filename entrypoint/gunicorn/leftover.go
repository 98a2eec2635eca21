package gunicorn

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/stablehand/stablehand/internal/proc"
	"github.com/stablehand/stablehand/reaper"
)

// Leftover is a generation that was begun afresh by a stablehand that has been killed.
type Leftover struct {
	*Master          // nil where it has none, not yet or not any more
	Sockets []uint64 // one that listens for each address, while it has them

	mark  string
	first proc.Info // the first of its processes, as far as it lives
}

// KeptError is the error of a generation whose stablehand lives.
type KeptError struct {
	PID int // of the generation's master, or of another one of its processes
	By  int // the stablehand
}

func (e *KeptError) Error() string {
	return fmt.Sprintf("process %d is looked after by another stablehand, process %d", e.PID, e.By)
}

// Leftovers are the generations that were left over and listen: at each of some
// addresses, of which the inodes of all sockets there are given. Beside such, those are
// ending whose master has closed its sockets, and lives for as long as its workers, hooks
// and threads do. The oldest comes first.
//
// A process tells by its mark who has begun it, with which command, and for which
// addresses.
func Leftovers(r *reaper.Reaper, own Identity, addresses string, listening [][]uint64) (left, ending []*Leftover, err error) {
	if slices.ContainsFunc(listening, func(inodes []uint64) bool { return len(inodes) == 0 }) {
		return nil, nil, nil
	}
	marked, err := allMarked()
	if err != nil {
		return nil, nil, err
	}
	namespace, command := PIDNamespace(), own.Command()
	for mark, list := range marked {
		begun, ok := parseBegun(mark)
		if !ok || begun.Namespace != namespace {
			continue // nor would the pid be that of a process that we know
		}
		held := holdEach(list, listening)
		all, lives := len(held) == len(listening), begun.By.lives()
		if all && lives {
			return nil, nil, &KeptError{list[0].PID, begun.By.PID}
		}
		if lives || begun.Command != command {
			continue
		}
		l := &Leftover{Sockets: held, mark: mark, first: slices.MinFunc(list, byStart)}
		l.findMaster(r, own, list)
		switch {
		case all:
			left = append(left, l)
		case begun.Addresses == addresses && l.ends():
			ending = append(ending, l)
		}
	}
	for _, list := range [][]*Leftover{left, ending} {
		slices.SortFunc(list, func(a, b *Leftover) int { return byStart(a.first, b.first) })
	}
	return left, ending, nil
}

// byStart is the order in which processes were started.
func byStart(a, b proc.Info) int { return cmp.Compare(a.Started, b.Started) }

// First is a process of the generation: its master, where there is one.
func (l *Leftover) First() int {
	if l.Master != nil {
		return l.PID()
	}
	return l.first.PID
}

// allMarked are all processes with a mark but ourselves, by that.
func allMarked() (map[string][]proc.Info, error) {
	pids, err := proc.All()
	slices.Sort(pids)
	marked := make(map[string][]proc.Info)
	for _, pid := range pids {
		mark, _ := markOf(pid) // what may not be looked at is another user's
		if mark == "" || pid == os.Getpid() {
			continue
		}
		if info, err := proc.Stat(pid); err == nil && info.Alive() {
			marked[mark] = append(marked[mark], info)
		}
	}
	return marked, err
}

// holdEach are the sockets that some processes have open, one of each address at the most.
func holdEach(list []proc.Info, listening [][]uint64) (held []uint64) {
	open := make(map[string]bool)
	for _, info := range list {
		descriptors, _ := proc.Descriptors(info.PID) // of what may not be looked at nothing is known
		for _, d := range descriptors {
			open[d.Target] = true
		}
	}
	for _, inodes := range listening {
		if i := slices.IndexFunc(inodes, func(inode uint64) bool { return open[proc.Socket(inode)] }); i >= 0 {
			held = append(held, inodes[i])
		}
	}
	return held
}

// findMaster finds the generation's master among its processes.
func (l *Leftover) findMaster(r *reaper.Reaper, own Identity, list []proc.Info) {
	for _, info := range list {
		p, err := r.Open(info.PID)
		if err != nil || !isMaster(info) || p.Signal(0) != nil {
			continue
		}
		l.Master = &Master{Process: p, reaper: r, own: &own, heir: info.Parent, started: info.Started, mark: l.mark}
		return // with no sockets: who has opened them may have them, too, and is below the same init
	}
}

// isMaster says whether a process of our user runs gunicorn, and is no worker.
func isMaster(info proc.Info) bool {
	user, err := proc.User(info.PID)
	is, err2 := runs(info.PID)
	above, err3 := gunicornAbove(info)
	worker, err4 := isWorker(info.PID)
	return errors.Join(err, err2, err3, err4) == nil && user == os.Geteuid() && is && above == 0 && !worker
}

// Serves says whether the generation has a worker that is ready, and has not been told
// to end.
func (l *Leftover) Serves() bool {
	if l.Master == nil || l.Dead() || !l.listens() {
		return false
	}
	w := l.Workers()
	return w.Ready > 0 || w.Blind && w.All > 0
}

// Leaves says whether the generation was told to end, and finishes what it holds: its
// master has closed its sockets, which its workers have open still.
func (l *Leftover) Leaves() bool {
	if l.Master == nil || l.Dead() || l.listens() {
		return false
	}
	beats, err := heartbeats(l.PID())
	return err == nil && len(beats) > 0
}

// ends says whether the generation has a master that has come up, and has none of its
// sockets any more, nor has anything else of it.
func (l *Leftover) ends() bool {
	if l.Master == nil || len(l.Sockets) > 0 || !l.Handles(unix.SIGUSR2) {
		return false
	}
	_, err := proc.Descriptors(l.PID()) // else it may well have them
	return err == nil
}

// End kills all that is left of the generation.
func (l *Leftover) End(ctx context.Context) error {
	return proc.End(ctx, func() ([]proc.Info, error) {
		marked, err := allMarked()
		return marked[l.mark], err
	})
}
