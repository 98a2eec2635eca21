package entrypoint

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/stablehand/stablehand/entrypoint/gunicorn"
	"github.com/stablehand/stablehand/entrypoint/life"
	"github.com/stablehand/stablehand/entrypoint/sockets"
	"github.com/stablehand/stablehand/entrypoint/systemd"
	"github.com/stablehand/stablehand/reaper"
)

// leftOver are generations of the command that a stablehand which was killed has left
// over, with sockets that it had opened: the oldest first, and two at the most.
type leftOver []*gunicorn.Leftover

// findLeftOver finds those, and ends what is of no use: what was not ready yet, or has
// nothing left that is. Where all have been told to end it waits until they have, since
// nothing serves then. A stop ends the wait, and is the life's. Beside one that is to serve
// others may be ending, which have closed their sockets.
func findLeftOver(stop context.Context, c Config, command Command, r *reaper.Reaper, log *slog.Logger) (left, ending leftOver, err error) {
	if len(c.Bind) == 0 {
		return nil, nil, nil
	}
	begun, leaving := time.Now(), leaving{log: log}
	for {
		left, ending, err := look(c, command, r)
		if err != nil {
			return nil, nil, err
		}
		if left.serving() < 0 && left.mayServe() && time.Since(begun) < replaced && stop.Err() == nil {
			time.Sleep(lookAgain)
			continue
		}
		left, err = left.useful(c, log)
		if err != nil || len(left) == 0 || left.serving() >= 0 {
			return left, ending, err
		}
		if !leaving.wait(stop, left[len(left)-1].Master) {
			return left, nil, nil
		}
	}
}

// replaced is how long a worker may take to load the application that replaces the only
// one of what serves, as after max_requests.
const replaced = 2 * time.Second

// lookAgain is the pause between two looks at what is left over.
const lookAgain = 50 * time.Millisecond

// look looks for them once.
func look(c Config, command Command, r *reaper.Reaper) (left, ending leftOver, err error) {
	listening, err := listeningAt(c)
	if err != nil {
		return nil, nil, nil // then it cannot be told whose an address is: see sockets.Open
	}
	left, ending, err = gunicorn.Leftovers(r, command.identity(), c.addresses(), listening)
	var kept *gunicorn.KeptError
	if errors.As(err, &kept) {
		return nil, nil, fmt.Errorf("%v is in use by process %d, which is %w, process %d", c.Bind[0], kept.PID, errTaken, kept.By)
	}
	return left, ending, err
}

// addresses stand for what BIND names, in the mark of a generation.
func (c Config) addresses() string {
	sum := sha256.Sum256([]byte(fmt.Sprint(c.Bind)))
	return hex.EncodeToString(sum[:4])
}

// listeningAt are the sockets that listen where we are to, or that a service manager has
// opened.
func listeningAt(c Config) ([][]uint64, error) {
	if inherited := systemd.Sockets(); len(inherited) > 0 {
		return sockets.Inherited(inherited)
	}
	return sockets.Listening(c.Bind)
}

// endLimit is how long processes may outlive SIGKILL, as in a disk wait.
const endLimit = 30 * time.Second

// useful ends all that is of no use, the newest first: whatever is older keeps its place.
func (left leftOver) useful(c Config, log *slog.Logger) (useful leftOver, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), endLimit)
	defer cancel()
	for _, l := range slices.Backward(left) {
		if l.Serves() || l.Leaves() {
			useful = append(useful, l)
			continue
		}
		log.Info("ending what a stablehand that was killed has left over: it has no worker that is ready", "pid", l.First())
		if err := l.End(ctx); err != nil {
			return nil, fmt.Errorf("what was left over does not end: %w", err)
		}
		awaitClosed(ctx, c, l.Sockets)
	}
	slices.Reverse(useful)
	return useful, nil
}

// mayServe says whether one of them has workers.
func (left leftOver) mayServe() bool {
	return slices.ContainsFunc(left, func(l *gunicorn.Leftover) bool { return l.Master != nil && l.Workers().All > 0 && !l.Leaves() })
}

// awaitClosed waits until sockets listen no more whose processes have ended: one of several
// threads may be a zombie, and the others about to close what they have. What a service
// manager has opened stays.
func awaitClosed(ctx context.Context, c Config, inodes []uint64) {
	if len(systemd.Sockets()) > 0 {
		return
	}
	for ctx.Err() == nil {
		listening, err := sockets.Listening(c.Bind)
		if err != nil || !slices.ContainsFunc(inodes, func(inode uint64) bool { return slices.Contains(slices.Concat(listening...), inode) }) {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// serving is which of them is to serve: the newest that has not been told to end, unless
// it was only coming up, and has fewer workers that are ready than the one before. It is -1
// where all have been told.
func (left leftOver) serving() int {
	serving, most := -1, 0
	for i, l := range left {
		if !l.Serves() {
			continue
		}
		if w := l.Workers(); w.Blind || w.Ready >= most {
			serving, most = i, w.Ready
		}
	}
	return serving
}

// inodes are those of their sockets.
func (left leftOver) inodes() (inodes [][]uint64) {
	for _, l := range left {
		inodes = append(inodes, l.Sockets)
	}
	return inodes
}

// takeOver has new connections go to the generation that is to serve, of those that were
// left over, and is what a life begins with. An old one goes on ending.
func (a *afresh) takeOver(left, ending leftOver) (*life.Adopted, error) {
	var generations []separate
	for i, listener := range a.sockets.Left() {
		generations = append(generations, separate{master{left[i].Master}, a, listener})
	}
	serving, number := max(left.serving(), 0), 1 // where all are leaving we were told to stop
	if err := generations[serving].Listener().Steer(); err != nil {
		return nil, err
	}
	first := &life.Adopted{Generation: generations[serving]}
	switch {
	case len(left) > 1:
		first.Retiring = generations[1-serving]
		a.log.Info("an old generation was left over, too", "generation", number, "pid", first.Retiring.PID())
	case len(ending) > 0:
		first.Retiring = master{ending[len(ending)-1].Master}
		a.log.Info("an old generation is leaving", "generation", number, "pid", first.Retiring.PID())
	}
	if first.Retiring != nil {
		number = 2
	}
	a.log.Info("adopted a running gunicorn", "generation", number, "pid", first.PID())
	return first, nil
}
