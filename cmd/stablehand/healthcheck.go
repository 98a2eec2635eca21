package main

import (
	"context"
	"flag"
	"fmt"
	"time"

	"github.com/stablehand/stablehand/entrypoint"
)

const healthcheckUsage = `usage: stablehand healthcheck [--ready] [--timeout DURATION]

Exits with 0 and says ok while a ready generation serves, also while a handoff
is under way or STOP_DELAY runs; with 1 and a word why not otherwise. No other
code is used, since Docker keeps 2 for itself.

  --ready             also fail from the first signal that stops, so that load
                      balancers turn away: what /readyz says
  --timeout DURATION  fail when there is no answer in this time (3s; 0 = wait)
`

// healthTimeout is well above what an answer takes, a few milliseconds, and
// below what orchestrators wait for a probe that they do not expect to hang.
const healthTimeout = 3 * time.Second

// healthcheck says whether a ready generation serves. Docker and Kubernetes
// show what it prints.
func healthcheck(words []string) int {
	flags := flag.NewFlagSet("healthcheck", flag.ContinueOnError)
	ready := flags.Bool("ready", false, "")
	timeout := durationFlag(flags, "timeout", healthTimeout)
	if code, ok := parse(flags, healthcheckUsage, words); !ok {
		return min(code, entrypoint.ExitFailed)
	}
	ctx, cancel := within(*timeout)
	defer cancel()
	err := newClient().Serving(ctx, *ready)
	if err == nil {
		fmt.Println("ok")
		return 0
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	fmt.Println(err)
	return entrypoint.ExitFailed
}
