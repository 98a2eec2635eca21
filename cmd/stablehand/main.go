// Command stablehand is the container's PID 1 for gunicorn: see `stablehand
// help`. Words and environment go in, an exit code comes out; all else is
// package entrypoint's.
package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/kballard/go-shellquote"

	"github.com/stablehand/stablehand/entrypoint"
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
		return refuse(stderr, fmt.Errorf("%s takes no words; for a command of that name write stablehand -- %s", words[0], shellquote.Join(words...)))
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
	command, err := entrypoint.ReadCommand(words, config, os.Getenv("GUNICORN_CMD_ARGS"))
	if err != nil {
		return refuseAs(config, stderr, err)
	}
	return entrypoint.Run(config, command, entrypoint.NewLog(config, stderr))
}

// refuse tells what is wrong, a line each, before anything has been started.
func refuse(stderr io.Writer, errs ...error) int {
	for _, err := range errs {
		fmt.Fprintln(stderr, "stablehand:", err)
	}
	return entrypoint.ExitUsage
}

// refuseAs does so for machines where the log is for them.
func refuseAs(c entrypoint.Config, stderr *os.File, errs ...error) int {
	if c.LogFormat != "json" {
		return refuse(stderr, errs...)
	}
	for _, err := range errs {
		entrypoint.NewLog(c, stderr).Error("refused: nothing was started", "reason", err, "serving", 0, "code", entrypoint.ExitUsage)
	}
	return entrypoint.ExitUsage
}

// printEnv prints the table of variables, and what WATCH leads to.
func printEnv(out io.Writer, c entrypoint.Config) {
	rows := [][]string{{"NAME", "VALUE", "DEFAULT", "MEANING"}}
	for _, v := range c.Variables() {
		rows = append(rows, []string{v.Name, v.Value, v.Default, v.Meaning})
	}
	printTable(out, rows)
	resolved, err := watch.Resolve(c.WatchOptions(nil))
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
