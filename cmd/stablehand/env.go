package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"github.com/stablehand/stablehand/entrypoint"
	"github.com/stablehand/stablehand/entrypoint/control"
	"github.com/stablehand/stablehand/entrypoint/status"
	"github.com/stablehand/stablehand/entrypoint/watch"
)

var envCommand = command{
	name:    "env",
	summary: "what is set: name, value, default, meaning",
	about: []string{
		"Shows each variable with the value that is in force here, its default and its meaning, and what each path in STABLEHAND_WATCH leads to. Where a stablehand runs here that was started with other values, these are shown, too.",
	},
	codes: []row{{"0", "shown"}, {"2", "wrong words or a wrong environment"}},
	wrong: entrypoint.ExitUsage,
	prepare: func(flags *flag.FlagSet) func(string) int {
		asJSON := flags.Bool("json", false, "as JSON, for machines")
		return func(string) int { return showEnv(*asJSON) }
	},
}

// showEnv shows the variables.
func showEnv(asJSON bool) int {
	config, errs := entrypoint.ReadConfig(os.Environ())
	if len(errs) > 0 {
		return refuseAs(config, os.Stderr, errs...)
	}
	e := environment{Variables: variables(config), Watched: watched(config)}
	e.compare(config)
	var text strings.Builder
	switch columns, _ := screen(os.Stdout); {
	case asJSON:
		encoder := json.NewEncoder(&text)
		encoder.SetIndent("", "  ")
		if err := encoder.Encode(e); err != nil {
			return failed(context.Background(), "env", err)
		}
	case columns > 0:
		e.narrow(&text, columns, colours(os.Stdout))
	default:
		e.tables(&text)
	}
	return say("env", text.String())
}

// environment is what is shown. In JSON it only grows, as the state does.
type environment struct {
	Variables []variable       `json:"variables"`
	Watched   []status.Watched `json:"watched"`

	// Running is the stablehand that runs here, if its values could be read.
	Running *running `json:"running,omitempty"`

	// Note says why they could not, where one runs or may run.
	Note string `json:"note,omitempty"`
}

// variable is one of stablehand's, and what it is in the stablehand that runs here.
type variable struct {
	Name    string  `json:"name"`
	Value   string  `json:"value"`
	Default string  `json:"default"`
	Meaning string  `json:"meaning"`
	Running *string `json:"running,omitempty"` // left out where it is the same
}

type running struct {
	PID int `json:"pid"`
}

func variables(c entrypoint.Config) (list []variable) {
	for _, v := range c.Variables() {
		list = append(list, variable{Name: v.Name, Value: v.Value, Default: v.Default, Meaning: v.Meaning})
	}
	return list
}

// watchedLimit is how long the table waits for a file system.
const watchedLimit = 2 * time.Second

// watched is what each entry of WATCH leads to.
func watched(c entrypoint.Config) []status.Watched {
	ctx, done := context.WithTimeout(context.Background(), watchedLimit)
	defer done()
	list := []status.Watched{}
	resolved, err := watch.Resolve(ctx, c.WatchOptions(nil))
	if err != nil {
		return list // ReadConfig has refused what Resolve would
	}
	for _, r := range resolved {
		list = append(list, status.Watched{Path: r.Path, To: r.To, Files: r.Files, Faults: r.Faults})
	}
	return list
}

// runningLimit is how long a stablehand that runs here may take to be found.
const runningLimit = 2 * time.Second

// runningEnviron is the environment that the stablehand which runs here was started
// with, as the kernel has it: it reads no other. Where none runs, the error says so.
func runningEnviron(said string) (pid int, environ []string, err error) {
	ctx, done := context.WithTimeout(context.Background(), runningLimit)
	defer done()
	socket, err := control.NewClient(said).Socket(ctx)
	if err != nil {
		return 0, nil, which(err)
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", socket.PID))
	if err != nil {
		return socket.PID, nil, err
	}
	return socket.PID, strings.Split(string(text), "\x00"), nil
}

// compare takes note of what the stablehand that runs has otherwise.
func (e *environment) compare(here entrypoint.Config) {
	pid, environ, err := runningEnviron(here.Control)
	switch {
	case errors.Is(err, control.ErrNothingRuns):
		return
	case pid == 0 && errors.Is(err, fs.ErrPermission):
		e.Note = fmt.Sprintf("whether a stablehand runs here cannot be seen: %v", err)
		return
	case err != nil:
		e.Note = fmt.Sprintf("the values of the stablehand that runs cannot be read: %v", err)
		return
	}
	e.Running = &running{PID: pid}
	there, _ := entrypoint.ReadConfig(environ) // it runs: its environment is right
	differs := entrypoint.Differing(here, there)
	for i, v := range there.Variables() {
		if differs[v.Name] {
			e.Variables[i].Running = &v.Value
		}
	}
}

// others says in what the stablehand that runs differs, a line each.
func (e *environment) others() (lines []string) {
	for _, v := range e.Variables {
		if v.Running != nil {
			lines = append(lines, v.Name+"="+*v.Running)
		}
	}
	if len(lines) > 0 {
		lines = append([]string{fmt.Sprintf("The stablehand that runs, process %d, was started with other values:", e.Running.PID)}, lines...)
	}
	if e.Note != "" {
		lines = append(lines, e.Note)
	}
	return lines
}

// tables are for where lines may be long.
func (e *environment) tables(out io.Writer) {
	rows := [][]string{{"NAME", "VALUE", "DEFAULT", "MEANING"}}
	for _, v := range e.Variables {
		rows = append(rows, []string{v.Name, v.Value, v.Default, v.Meaning})
	}
	printTable(out, rows)
	if len(e.Watched) > 0 {
		rows = [][]string{{"WATCHED", "FILES", "IS", "NOTE"}}
		for _, w := range e.Watched {
			rows = append(rows, []string{w.Path, strconv.Itoa(w.Files), strings.Join(w.To, ","), strings.Join(w.Faults, "; ")})
		}
		fmt.Fprintln(out)
		printTable(out, rows)
	}
	if lines := e.others(); len(lines) > 0 {
		fmt.Fprintln(out, "\n"+strings.Join(lines, "\n"))
	}
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

// narrow is for a terminal: each variable as it would be set, and below it what it
// means. What is not as by default stands out.
func (e *environment) narrow(out io.Writer, columns int, p palette) {
	const indent = "    "
	below := func(text string) {
		for _, line := range broken(text, columns-len(indent)) {
			fmt.Fprintln(out, indent+line)
		}
	}
	for _, v := range e.Variables {
		lines := broken(v.Name+"="+v.Value, columns)
		meaning := v.Meaning
		if v.Value != v.Default {
			for i, line := range lines {
				lines[i] = p.paint(bold, line)
			}
			if v.Default != "" {
				meaning += " (default " + v.Default + ")"
			}
		}
		fmt.Fprintln(out, strings.Join(lines, "\n"))
		below(meaning)
	}
	for _, w := range e.Watched {
		fmt.Fprintln(out)
		printWatched(func(name, format string, args ...any) {
			text := fmt.Sprintf(format, args...)
			if name != "" {
				fmt.Fprintln(out, strings.Join(broken(name+" "+text, columns), "\n"))
				return
			}
			below(text)
		}, w)
	}
	if lines := e.others(); len(lines) > 0 {
		fmt.Fprintln(out)
		for _, line := range lines {
			for _, part := range broken(line, columns) {
				fmt.Fprintln(out, p.paint(yellow, part))
			}
		}
	}
}

// broken is a text in lines of at most so many characters: at blanks, or else after
// commas, or anywhere in what is longer than a line.
func broken(text string, width int) (lines []string) {
	width = max(width, 1)
	if utf8.RuneCountInString(text) <= width {
		return []string{text}
	}
	for _, line := range wrap(text, width) {
		runes := []rune(line)
		for len(runes) > width {
			end := width
			if comma := strings.LastIndexByte(string(runes[:width]), ','); comma > 0 {
				end = utf8.RuneCountInString(string(runes[:width])[:comma+1])
			}
			lines, runes = append(lines, string(runes[:end])), runes[end:]
		}
		lines = append(lines, string(runes))
	}
	return lines
}
