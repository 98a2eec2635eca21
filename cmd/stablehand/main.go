// Command stablehand is the container's PID 1 for gunicorn: see `stablehand
// help`. Words and environment go in, an exit code comes out; all else is
// package entrypoint's.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stablehand/stablehand/entrypoint"
	"github.com/stablehand/stablehand/entrypoint/sink"
	"github.com/stablehand/stablehand/entrypoint/watch"
)

func main() {
	os.Exit(run(os.Args[1:]))
}

func run(words []string) int {
	stdout, stderr := os.Stdout, os.Stderr
	if len(words) > 1 && slices.Contains([]string{"help", "version", "env"}, words[0]) {
		if words[0] == "help" || words[1] == "--help" || words[1] == "-h" {
			fmt.Fprint(stdout, help)
			return 0
		}
		return refuse(stderr, fmt.Errorf("%s takes no words; for a command of that name write stablehand -- %s", words[0], entrypoint.Shown(words)))
	}
	if len(words) > 0 {
		switch words[0] {
		case "help":
			fmt.Fprint(stdout, help)
			return 0
		case "version":
			fmt.Fprintln(stdout, "stablehand", entrypoint.Version())
			return 0
		case "reload":
			return reload(words[1:])
		case "status":
			return showStatus(words[1:])
		case "healthcheck":
			return healthcheck(words[1:])
		}
	}
	config, errs := entrypoint.ReadConfig(os.Environ())
	if len(errs) > 0 {
		return refuseAs(config, stderr, errs...)
	}
	if len(words) > 0 && words[0] == "env" {
		printEnv(stdout, config)
		return 0
	}
	env, err := config.Environ(context.Background())
	if err != nil {
		return refuseAs(config, stderr, linesOf(err)...)
	}
	command, err := entrypoint.ReadCommand(words, config, entrypoint.GunicornArgs(env))
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

// watchedLimit is how long the table waits for a file system.
const watchedLimit = 2 * time.Second

// printEnv prints the table of variables, and what WATCH leads to.
func printEnv(out io.Writer, c entrypoint.Config) {
	rows := [][]string{{"NAME", "VALUE", "DEFAULT", "MEANING"}}
	for _, v := range c.Variables() {
		rows = append(rows, []string{v.Name, v.Value, v.Default, v.Meaning})
	}
	printTable(out, rows)
	ctx, done := context.WithTimeout(context.Background(), watchedLimit)
	defer done()
	resolved, err := watch.Resolve(ctx, c.WatchOptions(nil))
	if err != nil || len(resolved) == 0 {
		return // ReadConfig has refused what Resolve would
	}
	rows = [][]string{{"WATCHED", "FILES", "IS", "NOTE"}}
	for _, r := range resolved {
		rows = append(rows, []string{r.Path, strconv.Itoa(r.Files), strings.Join(r.To, ","), strings.Join(r.Faults, "; ")})
	}
	fmt.Fprintln(out)
	printTable(out, rows)
}

// printTable aligns the columns; an empty cell is a dash.
func printTable(out io.Writer, rows [][]string) {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	defer table.Flush()
	for _, row := range rows {
		for i, cell := range row {
			if cell == "" {
				row[i] = "-"
			}
		}
		fmt.Fprintln(table, strings.Join(row, "\t"))
	}
}
