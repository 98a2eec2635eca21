package main

import (
	"context"
	"flag"
	"fmt"
	"time"

	"github.com/stablehand/stablehand/entrypoint"
)

var healthcheckCommand = command{
	name:    "healthcheck",
	summary: "exits with 0 while a generation serves",
	about: []string{
		"Exits with 0 and says ok while a ready generation serves, also while a handoff is under way or STOP_DELAY runs; with 1 and a word why not otherwise. No other code is used, since Docker keeps 2 for itself.",
	},
	codes: []row{{"0", "it serves"}, {"1", "it does not, and why"}},
	wrong: entrypoint.ExitFailed,
	prepare: func(flags *flag.FlagSet) func(string) int {
		ready := flags.Bool("ready", false, "also fail from the first signal that stops, so that load balancers turn away: what /readyz says")
		timeout := durationFlag(flags, "timeout", healthTimeout, "fail when there is no answer in this `DURATION` (3s; 0 = wait)")
		return func(string) int { return healthcheck(*ready, *timeout) }
	},
}

// healthTimeout is well above what an answer takes, a few milliseconds, and
// below what orchestrators wait for a probe that they do not expect to hang.
const healthTimeout = 3 * time.Second

// healthcheck says whether a ready generation serves. Docker and Kubernetes
// show what it prints.
func healthcheck(ready bool, timeout time.Duration) int {
	ctx, cancel := within(timeout)
	defer cancel()
	err := newClient().Serving(ctx, ready)
	if err == nil {
		fmt.Println("ok")
		return 0
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	fmt.Println(which(err))
	return entrypoint.ExitFailed
}
