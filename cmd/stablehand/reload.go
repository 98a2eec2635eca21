package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"time"

	"github.com/stablehand/stablehand/entrypoint"
	"github.com/stablehand/stablehand/entrypoint/control"
	"github.com/stablehand/stablehand/entrypoint/status"
	"github.com/stablehand/stablehand/internal/proc"
)

var reloadCommand = command{
	name:    "reload",
	summary: "a handoff: waits, and tells how it ended",
	about: []string{
		"Asks for a handoff, and shows how it goes until it is over. During another handoff it is the one after that: only that one has surely read what is on disk now. Ctrl-C and --timeout end the wait: a handoff that has begun goes on, and one that has not is no longer asked for.",
	},
	codes: []row{
		{"0", "the new generation serves"}, {"1", "it does not, and why"}, {"2", "wrong words"},
		{"3", "no stablehand runs here"}, {"4", "the time is over"}, {"130", "after Ctrl-C"},
	},
	wrong:   entrypoint.ExitUsage,
	prepare: prepareReload,
}

func prepareReload(flags *flag.FlagSet) func(string) int {
	timeout := durationFlag(flags, "timeout", 0, "wait no longer than this `DURATION`, such as 90s or 5m")
	noWait := flags.Bool("no-wait", false, "do not wait at all")
	return func(string) int { return reload(*timeout, *noWait) }
}

// reload asks for a handoff and tells what becomes of it.
func reload(timeout time.Duration, noWait bool) int {
	ctx, cancel := within(timeout)
	defer cancel()
	client := newClient()
	if !noWait {
		return follow(ctx, client)
	}
	if err := client.ReloadSoon(ctx); err != nil {
		return reloadFailed(ctx, status.Handoff{}, err)
	}
	fmt.Println("asked for a handoff: stablehand status shows how it goes")
	return 0
}

// follow asks for a handoff and shows how it goes.
func follow(ctx context.Context, client *control.Client) int {
	before := lookBefore(ctx, client)
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt)
	moved, ended := make(chan status.Handoff), make(chan error, 1)
	go func() {
		_, err := client.Reload(ctx, func(h status.Handoff) { moved <- h })
		ended <- err
	}()
	columns, _ := screen(os.Stdout)
	p := newProgress(os.Stdout, columns, time.Now())
	p.palette = colours(os.Stdout)
	tick := time.NewTicker(framePace)
	defer tick.Stop()
	for {
		select {
		case h := <-moved:
			p.told(h, time.Now())
		case now := <-tick.C:
			p.tick(now)
		case <-interrupted:
			p.leave()
			fmt.Fprintln(os.Stderr, "stablehand: reload: interrupted;", goesOn(p.handoff))
			return exitInterrupted
		case err := <-ended:
			p.leave()
			signal.Stop(interrupted) // it ends us, as whatever else
			if err != nil {
				return reloadFailed(ctx, p.handoff, err)
			}
			return outcome(ctx, client, p.handoff, before)
		}
	}
}

// reloadFailed tells why nobody can tell what became of the handoff.
func reloadFailed(ctx context.Context, h status.Handoff, err error) int {
	if ctx.Err() == nil {
		return failed(ctx, "reload", err)
	}
	fmt.Fprintf(os.Stderr, "stablehand: reload: the time is over; %s\n", goesOn(h))
	return exitTimeout
}

// goesOn tells what becomes of a handoff that nobody waits for any more. One that
// has not begun comes all the same where somebody else asks for it, or something
// has changed.
func goesOn(h status.Handoff) string {
	switch h.Step {
	case "":
		return "no answer came, so that there may be no handoff"
	case status.Wait:
		return fmt.Sprintf("the handoff had not begun (%s), and is no longer asked for: stablehand status shows whether one comes all the same", doing(h))
	}
	return fmt.Sprintf("the handoff goes on (%s): stablehand status shows how", doing(h))
}

// before is what is known of who serves, before a handoff.
type before struct {
	pid  int // stablehand's
	logs []logged
}

// lookBefore learns where gunicorn's lines go, and how far they have come. What cannot
// be learned is told by whoever is asked next.
func lookBefore(ctx context.Context, client *control.Client) (b before) {
	ctx, cancel := context.WithTimeout(ctx, logsLimit)
	defer cancel()
	if socket, err := client.Socket(ctx); err == nil {
		b.pid = socket.PID
	}
	if now, err := client.Status(ctx); err == nil && now.Serving != nil {
		b.logs = inTime(ctx, func() []logged { return logsOf(now.Serving.PID) })
	}
	return b
}

// logsLimit is how long a look at gunicorn's lines may take: a stablehand, or a file
// system, that does not answer has nobody wait for what is only good to have.
const logsLimit = 3 * time.Second

// lastLines are those of gunicorn's that have come since, as [lastLines] has them.
func (b before) lastLines(ctx context.Context, client *control.Client) (path string, lines []string) {
	ctx, cancel := context.WithTimeout(ctx, logsLimit)
	defer cancel()
	var serving []int
	if now, err := client.Status(ctx); err == nil && now.Serving != nil {
		tree, _ := proc.Tree(now.Serving.PID) // of one that cannot be listed more lines are shown
		for _, process := range tree {
			serving = append(serving, process.PID)
		}
	}
	read := inTime(ctx, func() (read struct {
		path  string
		lines []string
	}) {
		read.path, read.lines = lastLines(b.logs, serving)
		return read
	})
	return read.path, read.lines
}

// outcome tells why a handoff has failed, if it has, and what comes now, with
// gunicorn's own lines. It returns the code to exit with.
func outcome(ctx context.Context, client *control.Client, h status.Handoff, b before) int {
	if h.Outcome == status.HandedOff {
		return 0
	}
	fmt.Fprintf(os.Stderr, "stablehand: reload: %s\n", colours(os.Stderr).paint(red, ending(h)))
	log, lines := b.lastLines(ctx, client)
	where := "gunicorn's own lines are " + whereLines(b.pid)
	if log != "" {
		where = "gunicorn's own last lines, of " + log + ":"
	}
	switch h.Outcome {
	case status.RolledBack:
		fmt.Fprintf(os.Stderr, "stablehand: generation %d serves as before; %s; %s\n", h.From, nextTry(client, h), where)
	case status.Lost:
		fmt.Fprintf(os.Stderr, "stablehand: nothing serves any more; %s\n", where)
	default:
		return entrypoint.ExitFailed
	}
	for _, line := range lines {
		fmt.Fprintln(os.Stderr, "  "+line)
	}
	return entrypoint.ExitFailed
}

// ending is how a handoff ended that did not succeed.
func ending(h status.Handoff) string {
	what := map[string]string{
		status.RolledBack: "rolled back",
		status.Stopped:    "stopped",
		status.Lost:       "failed with no way back",
	}[h.Outcome]
	if h.Generation != 0 {
		what += fmt.Sprintf(" in step %s after %s", h.Step, seconds(h.Took))
	}
	return what + ": " + h.Failure
}

// nextTry tells when a handoff that was rolled back is tried again.
func nextTry(client *control.Client, h status.Handoff) string {
	if h.Retry > 0 {
		return "tried again in " + seconds(h.Retry)
	}
	ctx, cancel := within(askTimeout)
	defer cancel()
	now, err := client.Status(ctx)
	if err == nil && (now.Next != nil || now.Handoff != nil) {
		return "the next handoff comes at once"
	}
	return "not tried again by itself"
}
