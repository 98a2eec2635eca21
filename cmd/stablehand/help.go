package main

import (
	"fmt"
	"strings"

	"github.com/stablehand/stablehand/entrypoint"
	"github.com/stablehand/stablehand/internal/version"
)

// summary says in half a line what the program is.
const summary = "the container's PID 1 for gunicorn"

// section is a part of what is told of the program or of a command.
type section struct {
	title string
	text  []string // paragraphs
	rows  []row
}

// row is a word and what it means.
type row struct{ left, right string }

// manual is what is told of the program. The sections that are not in short are the
// manual page's alone: stablehand env has the variables.
func manual() (sections []section, short int) {
	return []section{
		{title: "description", text: []string{
			"stablehand is the container's PID 1 for gunicorn. It starts gunicorn, reaps zombies, forwards signals, and when a watched file changes it hands over to a new gunicorn without a refused request; a broken change is rolled back.",
			"gunicorn opens its socket itself, and hands over by USR2; or stablehand does where STABLEHAND_BIND says so, and begins each gunicorn afresh: the socket is then its own, and so is the environment, as STABLEHAND_ENV_FILE has it.",
			"All is set by variables of the environment: stablehand env shows them.",
		}},
		{title: "what it runs", rows: []row{
			{"stablehand", "gunicorn $STABLEHAND_APP"},
			{"stablehand app:app [OPTIONS]", "gunicorn app:app [OPTIONS]"},
			{"stablehand -w 4 app:app", "gunicorn -w 4 app:app"},
			{"stablehand mysite.wsgi", "gunicorn mysite.wsgi: a module that is no program"},
			{"stablehand COMMAND [WORDS]", "that command, as it is; a handoff is possible where gunicorn stands among its words, or STABLEHAND_WATCH or STABLEHAND_BIND is set; any other command just gets an init"},
			{"stablehand -- COMMAND [WORDS]", "the same, also where it has the name of one of these"},
		}},
		{title: "commands", rows: commandRows(), text: []string{
			"reload, status and healthcheck ask the stablehand that runs here. Each command tells more with --help. gunicorn's own help: stablehand gunicorn --help",
		}},
		{title: "signals", text: []string{
			"While gunicorn runs: HUP or USR2 begins a handoff; TERM stops gracefully, INT and QUIT quickly, after TERM, too; USR1 reopens logs; TTIN and TTOU give the serving generation one worker more or less. A command that is no gunicorn by its words, and none of whose processes is one by the time STABLEHAND_READY_TIMEOUT is over, gets each signal itself.",
		}},
		{title: "exit status", text: []string{
			"gunicorn's own, or the command's; 128+n where signal n killed it; 1 where stablehand failed, or could not learn how gunicorn ended; 2 for wrong words or a wrong environment, 126 for a command that cannot be run, 127 for one that is not there.",
		}},
		{title: "environment", rows: variableRows()},
	}, 5
}

func commandRows() (rows []row) {
	for _, c := range commands() {
		rows = append(rows, row{"stablehand " + c.name, c.summary})
	}
	return rows
}

func variableRows() (rows []row) {
	var c entrypoint.Config
	for _, v := range c.Variables() {
		meaning := v.Meaning
		if v.Default != "" {
			meaning += " (default " + v.Default + ")"
		}
		rows = append(rows, row{v.Name, meaning})
	}
	return append(rows, row{"NO_COLOR", "set to anything, it has what stablehand says on a terminal be without colours"})
}

// showHelp prints the help of a command, or of the program.
func showHelp(word string) int {
	if c, ok := byName(word); ok {
		return say(c.name, c.help())
	}
	sections, short := manual()
	return say("help", plain(sections[:short]))
}

// help is what is told of the command.
func (c command) help() string {
	return "usage: " + c.synopsis() + "\n\n" + plain(c.sections())
}

func (c command) sections() []section {
	var options []row
	for _, o := range c.options() {
		options = append(options, row{o.String(), o.usage})
	}
	sections := append([]section{{text: c.about}, {title: "options", rows: options}}, c.more...)
	return append(sections, section{title: "exit codes", rows: c.codes})
}

// helpWidth is what a terminal surely has.
const helpWidth = 80

// plain is the sections as a terminal shows them. The first needs no title.
func plain(sections []section) string {
	var parts []string
	for i, s := range sections {
		text, indent := "", ""
		if i > 0 && s.title != "" {
			text, indent = titled(s.title)+"\n", "  "
		}
		var blocks []string
		if len(s.rows) > 0 {
			blocks = append(blocks, plainRows(s.rows, indent))
		}
		for _, paragraph := range s.text {
			blocks = append(blocks, indent+strings.Join(wrap(paragraph, helpWidth-len(indent)), "\n"+indent)+"\n")
		}
		if len(blocks) > 0 {
			parts = append(parts, text+strings.Join(blocks, "\n"))
		}
	}
	return strings.Join(parts, "\n")
}

// titled is a section's title in a line of its own.
func titled(title string) string { return strings.ToUpper(title[:1]) + title[1:] + ":" }

// plainRows sets the meanings beside the words.
func plainRows(rows []row, indent string) string {
	width := 0
	for _, r := range rows {
		width = max(width, len(r.left))
	}
	var text strings.Builder
	for _, r := range rows {
		for i, line := range wrap(r.right, helpWidth-len(indent)-width-2) {
			if i > 0 {
				r.left = ""
			}
			fmt.Fprintf(&text, "%s%-*s  %s\n", indent, width, r.left, line)
		}
	}
	return text.String()
}

// wrap breaks a text into lines of at most so many bytes, where its words allow it.
func wrap(text string, width int) (lines []string) {
	line := ""
	for word := range strings.FieldsSeq(text) {
		switch {
		case line == "":
			line = word
		case len(line)+1+len(word) > width:
			lines, line = append(lines, line), word
		default:
			line += " " + word
		}
	}
	return append(lines, line)
}

func showVersion(string) int {
	return say("version", "stablehand "+version.Read().String()+"\n")
}
