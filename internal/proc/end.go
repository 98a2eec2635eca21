package proc

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// Kill sends sig to the processes in list that still are those that were
// listed. The error is of those that it could not be sent to; of one that is
// gone there is none.
func Kill(list []Info, sig unix.Signal) error {
	var all error
	for _, info := range list {
		if err := kill(info, sig); err != nil && !gone(err) {
			all = errors.Join(all, err)
		}
	}
	return all
}

// kill sends by a pidfd, which is opened before it is made sure that it is of
// the process that was listed.
func kill(info Info, sig unix.Signal) error {
	pidfd, err := Open(info.PID)
	if err != nil {
		return err
	}
	defer held.close(pidfd)
	now, err := Stat(info.PID)
	if err != nil || now.Started != info.Started {
		return err
	}
	return because(info.PID, fmt.Sprintf("send signal %d to", int(sig)), unix.PidfdSendSignal(pidfd, sig, nil, 0))
}

// lookEvery is the pause between two looks at a list that is to get empty.
const lookEvery = 10 * time.Millisecond

// look lists what is left, and looks twice before it says that nothing is: a
// process whose parent ends while the tree is walked may be seen neither where
// it was nor where it comes to be.
func look(list func() ([]Info, error)) (left []Info, err error) {
	for range 2 {
		if left, err = list(); err != nil || len(left) > 0 {
			break
		}
	}
	return left, err
}

// Gone waits until list returns no living process any more, and says whether
// that came within the limit. It does not while list returns an error.
func Gone(ctx context.Context, list func() ([]Info, error), limit time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		if left, err := look(list); err == nil && len(left) == 0 {
			return true
		}
		select {
		case <-time.After(lookEvery):
		case <-ctx.Done():
			return false
		}
	}
}

// Terminate has what list returns end by SIGTERM, and after the grace by End.
func Terminate(ctx context.Context, list func() ([]Info, error), grace time.Duration) error {
	if grace > 0 {
		// What cannot be listed or told now is not gone, and End speaks of it.
		left, _ := list()
		_ = Kill(left, unix.SIGTERM)
		if Gone(ctx, list, grace) {
			return nil
		}
	}
	return End(ctx, list)
}

// End kills what list returns, and again what it returns then, until it
// returns no living process any more: a fork that was under way when a tree
// was listed is caught the next time round. Beside an error, list returns what
// it could. End gives up when ctx ends, and says what outlives SIGKILL, or why
// that cannot be known.
func End(ctx context.Context, list func() ([]Info, error)) error {
	for {
		left, err := look(list)
		if err == nil && len(left) == 0 {
			return nil
		}
		refused := Kill(left, unix.SIGKILL)
		if ctx.Err() != nil {
			return outlived(left, errors.Join(context.Cause(ctx), err, refused))
		}
		Gone(ctx, list, lookEvery)
	}
}

func outlived(left []Info, why error) error {
	if len(left) == 0 {
		return fmt.Errorf("it cannot be known whether processes are left: %w", why)
	}
	return fmt.Errorf("%d processes outlive SIGKILL, the first is %d: %w", len(left), left[0].PID, why)
}
