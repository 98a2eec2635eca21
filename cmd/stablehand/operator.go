package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stablehand/stablehand/entrypoint"
	"github.com/stablehand/stablehand/entrypoint/control"
)

// Exit codes of the operator's commands, beside those that stablehand has
// itself.
const (
	exitNothingRuns = 3
	exitTimeout     = 4
	exitInterrupted = 128 + int(unix.SIGINT)
)

// askTimeout is how long stablehand may take to say how things stand.
const askTimeout = 10 * time.Second

// newClient asks the stablehand that runs here. No other variable is read: a
// wrong one has kept that stablehand from starting, and is not to keep anybody
// from asking one that runs.
func newClient() *control.Client {
	return control.NewClient(os.Getenv(entrypoint.Prefix + "CONTROL"))
}

// durationFlag defines a flag for a time to wait, 0 for no limit.
func durationFlag(flags *flag.FlagSet, name string, value time.Duration, usage string) *time.Duration {
	flags.Func(name, usage, func(text string) error {
		d, err := time.ParseDuration(text)
		if err != nil || d < 0 {
			return errors.New("want a duration such as 500ms, 90s or 5m")
		}
		value = d
		return nil
	})
	return &value
}

// within is a context that ends after the limit, if that is not 0.
func within(limit time.Duration) (context.Context, context.CancelFunc) {
	if limit == 0 {
		return context.WithCancel(context.Background())
	}
	return context.WithTimeoutCause(context.Background(), limit, fmt.Errorf("no answer in %v", limit))
}

// failed tells why an operator's command has failed, and returns the code to
// exit with.
func failed(ctx context.Context, name string, err error) int {
	code := entrypoint.ExitFailed
	switch {
	case errors.Is(err, control.ErrNothingRuns):
		code = exitNothingRuns
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	}
	fmt.Fprintf(os.Stderr, "stablehand: %s: %v\n", name, which(err))
	return code
}

// which is an error with what tells the stablehands apart where several run.
func which(err error) error {
	several := new(control.SeveralError)
	if !errors.As(err, &several) {
		return err
	}
	var list []string
	for _, s := range several.Sockets {
		list = append(list, fmt.Sprintf("%sCONTROL=%s for process %d (%s)", entrypoint.Prefix, s.Path, s.PID, commandLine(s.PID)))
	}
	return fmt.Errorf("several stablehands run here, set %s", strings.Join(list, " or "))
}

// commandLine is that of a process, as it may be shown.
func commandLine(pid int) string {
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return "?"
	}
	return entrypoint.Shown(strings.Split(strings.TrimSuffix(string(line), "\x00"), "\x00"))
}

// screen is the size of the terminal that a file is, or zero: also for a
// terminal that cannot move its cursor.
func screen(f *os.File) (columns, rows int) {
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil || os.Getenv("TERM") == "dumb" {
		return 0, 0
	}
	if size.Col == 0 || size.Row == 0 { // a terminal that nobody has told its size
		return 80, 24
	}
	return int(size.Col), int(size.Row)
}

// span is a time as people read it, with three digits or so.
func span(d time.Duration) string {
	const second, minute, hour, day = time.Second, time.Minute, time.Hour, 24 * time.Hour
	d = max(d, 0)
	whole := d.Round(second)
	switch {
	case d.Round(second/100) < 10*second:
		return fmt.Sprintf("%.2fs", d.Seconds())
	case d.Round(second/10) < minute:
		return fmt.Sprintf("%.1fs", d.Seconds())
	case whole < hour:
		return fmt.Sprintf("%dm%02ds", whole/minute, whole%minute/second)
	case whole < day:
		return fmt.Sprintf("%dh%02dm", whole/hour, whole%hour/minute)
	}
	return fmt.Sprintf("%dd%02dh", whole/day, whole%day/hour)
}

// seconds is span of a duration that was told in seconds.
func seconds(s float64) string { return span(time.Duration(s * float64(time.Second))) }
