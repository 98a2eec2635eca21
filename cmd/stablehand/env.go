package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/stablehand/stablehand/entrypoint"
	"github.com/stablehand/stablehand/entrypoint/watch"
)

// showEnv shows the variables.
func showEnv(string) int {
	config, errs := entrypoint.ReadConfig(os.Environ())
	if len(errs) > 0 {
		return refuseAs(config, os.Stderr, errs...)
	}
	printEnv(os.Stdout, config)
	return 0
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
