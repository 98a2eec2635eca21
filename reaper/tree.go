package reaper

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Info is what the process table says of a process to everyone.
type Info struct {
	PID     int
	Parent  int
	State   byte   // R, S, D, T, Z … as in proc(5)
	Exiting bool   // it has begun to end, and its files are kept from all but root
	Started uint64 // clock ticks after boot; with PID it names one process for ever
}

// exiting is PF_EXITING of the kernel's include/linux/sched.h.
const exiting = 0x4

// Alive says whether the process still runs, stopped or not.
func (i Info) Alive() bool { return i.State != 'Z' && i.State != 'X' }

// Stat reads /proc/PID/stat.
func Stat(pid int) (Info, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return Info{}, err
	}
	// The name stands in parentheses and may contain any of these itself.
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(fields) < 20 {
		return Info{}, fmt.Errorf("/proc/%d/stat: cannot read %q", pid, b)
	}
	// Fields count from 1 in proc(5), and the state is the third.
	parent, _ := strconv.Atoi(fields[4-3])
	flags, _ := strconv.ParseUint(fields[9-3], 10, 64)
	started, err := strconv.ParseUint(fields[22-3], 10, 64)
	return Info{PID: pid, State: fields[0][0], Exiting: flags&exiting != 0, Parent: parent, Started: started}, err
}

// Children lists the pids of a process's children, dead ones not yet reaped
// included. A process that is gone has none.
func Children(pid int) []int {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	var pids []int
	for _, f := range files {
		b, _ := os.ReadFile(f)
		for _, word := range strings.Fields(string(b)) {
			if n, err := strconv.Atoi(word); err == nil {
				pids = append(pids, n)
			}
		}
	}
	return pids
}

// Tree lists a living process and all its living descendants, parents first.
func Tree(pid int) []Info {
	info, err := Stat(pid)
	if err != nil {
		return nil
	}
	var tree []Info
	if info.Alive() {
		tree = append(tree, info)
	}
	return append(tree, Descendants(pid)...)
}

// Descendants is Tree without the process itself.
func Descendants(pid int) []Info {
	var tree []Info
	for _, child := range Children(pid) {
		tree = append(tree, Tree(child)...)
	}
	return tree
}

// Merge is all that is in one of the lists, each process once.
func Merge(lists ...[]Info) []Info {
	var all []Info
	for _, info := range slices.Concat(lists...) {
		same := func(i Info) bool { return i.PID == info.PID && i.Started == info.Started }
		if !slices.ContainsFunc(all, same) {
			all = append(all, info)
		}
	}
	return all
}

// Kill sends sig to the processes in list that still are those that were
// listed.
func Kill(list []Info, sig unix.Signal) {
	for _, info := range list {
		if fd, err := open(info); err == nil {
			unix.PidfdSendSignal(fd, sig, nil, 0)
			unix.Close(fd)
		}
	}
}

// open returns a pidfd of the process that was listed, and of no other.
func open(info Info) (int, error) {
	fd, err := unix.PidfdOpen(info.PID, 0)
	if err != nil {
		return -1, err
	}
	if now, err := Stat(info.PID); err != nil || now.Started != info.Started {
		unix.Close(fd)
		return -1, os.ErrProcessDone
	}
	return fd, nil
}

// lookEvery is the pause between two looks at a list that is to get empty.
const lookEvery = 10 * time.Millisecond

// empty looks twice: a process whose parent ends while the tree is walked may
// be seen neither where it was nor where it comes to be.
func empty(list func() []Info) bool {
	for range 2 {
		if len(list()) > 0 {
			return false
		}
	}
	return true
}

// Gone waits until list returns no living process any more, and says whether
// that came within the limit.
func Gone(ctx context.Context, list func() []Info, limit time.Duration) bool {
	over := time.Now().Add(limit)
	for !empty(list) {
		if ctx.Err() != nil || time.Now().After(over) {
			return false
		}
		time.Sleep(lookEvery)
	}
	return true
}

// Terminate has what list returns end by SIGTERM, and after the grace by End.
func Terminate(ctx context.Context, list func() []Info, grace time.Duration) error {
	if grace > 0 {
		Kill(list(), unix.SIGTERM)
		Gone(ctx, list, grace)
	}
	return End(ctx, list)
}

// End kills what list returns, and again what it returns then, until it
// returns no living process any more: a fork that was under way when a tree
// was listed is caught the next time round. It gives up when ctx ends.
func End(ctx context.Context, list func() []Info) error {
	for !empty(list) {
		left := list()
		if err := ctx.Err(); err != nil && len(left) > 0 {
			return fmt.Errorf("%d processes outlive SIGKILL, the first is %d: %w", len(left), left[0].PID, err)
		}
		Kill(left, unix.SIGKILL)
		Gone(ctx, list, lookEvery)
	}
	return nil
}
