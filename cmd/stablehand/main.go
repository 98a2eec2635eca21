// Command stablehand is the container's PID 1 for gunicorn: see `stablehand
// help`. Words and environment go in, an exit code comes out; all else is
// package entrypoint's.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stablehand/stablehand/entrypoint"
	"github.com/stablehand/stablehand/entrypoint/sink"
)

func main() {
	os.Exit(run(os.Args[1:]))
}

func run(words []string) int {
	if c, rest, ok := find(words); ok {
		return c.run(rest)
	}
	stderr := os.Stderr
	config, errs := entrypoint.ReadConfig(os.Environ())
	if len(errs) > 0 {
		return refuseAs(config, stderr, errs...)
	}
	env, err := config.Environ(context.Background())
	if err != nil {
		return refuseAs(config, stderr, linesOf(err)...)
	}
	if name := entrypoint.Mistaken(words, commandNames(), env); name != "" {
		return refuseAs(config, stderr, fmt.Errorf("%s is none of stablehand's commands, no program and no module: write stablehand %s",
			words[0], entrypoint.Shown(append([]string{name}, words[1:]...))))
	}
	command, err := entrypoint.ReadCommand(words, config, env)
	if err != nil {
		return refuseAs(config, stderr, err)
	}
	outliveReaders()
	log, lines := entrypoint.OpenLog(config, stderr)
	defer lines.Close(lastWords)
	return entrypoint.Run(config, command, log)
}

// lastWords is how long the end waits for somebody to read what was said last.
const lastWords = time.Second

// outliveReaders has a write to a pipe that nobody reads any more fail, and not
// end us: the exit code is to be told all the same. Unlike a signal that is
// ignored, one that is caught is nothing that a command inherits.
func outliveReaders() { signal.Notify(make(chan os.Signal, 1), unix.SIGPIPE) }

// linesOf are an error's lines, each an error of its own.
func linesOf(err error) (errs []error) {
	for line := range strings.Lines(err.Error()) {
		errs = append(errs, errors.New(strings.TrimSpace(line)))
	}
	return errs
}

// refuse tells what is wrong, a line each, before anything has been started.
// Nobody need read it.
func refuse(stderr *os.File, errs ...error) int {
	outliveReaders()
	lines := sink.New(stderr, nil)
	defer lines.Close(lastWords)
	for _, err := range errs {
		fmt.Fprintln(lines, "stablehand:", err)
	}
	return entrypoint.ExitUsage
}

// refuseAs does so for machines where the log is for them.
func refuseAs(c entrypoint.Config, stderr *os.File, errs ...error) int {
	if c.LogFormat != "json" {
		return refuse(stderr, errs...)
	}
	outliveReaders()
	log, lines := entrypoint.OpenLog(c, stderr)
	defer lines.Close(lastWords)
	for _, err := range errs {
		log.Error("refused: nothing was started", "reason", err, "serving", 0, "code", entrypoint.ExitUsage)
	}
	return entrypoint.ExitUsage
}
