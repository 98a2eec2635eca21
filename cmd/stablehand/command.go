package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/stablehand/stablehand/entrypoint"
)

// command is one of stablehand's own. The help, the manual page and the shells'
// completions tell what stands here, and the words are read by it, so that none of
// them can say anything else.
type command struct {
	name    string
	summary string // half a line
	operand operand
	about   []string  // paragraphs
	more    []section // that only this command has
	codes   []row     // the exit codes, and what each says
	wrong   int       // the exit code for wrong words

	// prepare defines the flags, whose usage is a row of the help, and returns what
	// is to be done when they have been read. The word is the operand, if there is one.
	prepare func(flags *flag.FlagSet) func(word string) int
}

// operand is the one word that a command takes beside its flags, if it has a name.
type operand struct {
	name     string
	one      func() []string // what it may be
	required bool
}

// commands are all of them, in the order in which they are shown.
func commands() []command {
	return []command{
		reloadCommand, statusCommand, healthcheckCommand, envCommand,
		{
			name:    "version",
			summary: "the version of stablehand",
			about:   []string{"Shows the version of stablehand; stablehand gunicorn --version shows gunicorn's."},
			wrong:   entrypoint.ExitUsage,
			prepare: func(*flag.FlagSet) func(string) int { return showVersion },
		},
		{
			name:    "help",
			summary: "this help, or that of a command",
			operand: operand{name: "COMMAND", one: commandNames},
			about:   []string{"Shows what stablehand does, or what one of its commands does, as COMMAND --help does. stablehand gunicorn --help shows gunicorn's own help."},
			wrong:   entrypoint.ExitUsage,
			prepare: func(*flag.FlagSet) func(string) int { return showHelp },
		},
		{
			name:    "completion",
			summary: "a script that has a shell complete these words",
			operand: operand{name: "SHELL", one: shells, required: true},
			about: []string{
				"Prints a script for a shell, which then completes stablehand's commands and options.",
			},
			more: []section{
				{title: "to have it in this shell", rows: []row{
					{"bash", "source <(stablehand completion bash)"},
					{"zsh", "source <(stablehand completion zsh) # after compinit"},
					{"fish", "stablehand completion fish | source"},
				}},
				{title: "to have it in each shell, write it to", rows: []row{
					{"bash", "/etc/bash_completion.d/stablehand"},
					{"zsh", "_stablehand in a directory of $fpath"},
					{"fish", "~/.config/fish/completions/stablehand.fish"},
				}},
			},
			wrong:   entrypoint.ExitUsage,
			prepare: func(*flag.FlagSet) func(string) int { return showCompletion },
		},
		{
			name:    "man",
			summary: "the manual page",
			about:   []string{"Prints the manual page, for man: stablehand man | man -l -"},
			wrong:   entrypoint.ExitUsage,
			prepare: func(*flag.FlagSet) func(string) int { return showMan },
		},
	}
}

// commandNames are the words that are commands.
func commandNames() (names []string) {
	for _, c := range commands() {
		names = append(names, c.name)
	}
	return names
}

// find returns the command that the first word is, if it is one, and the words that
// it is to read. --help and --version are commands only as the first word, and look at
// no other word but the name of a command.
func find(words []string) (c command, rest []string, ok bool) {
	if len(words) == 0 {
		return c, nil, false
	}
	name, rest := words[0], words[1:]
	switch name {
	case "--version":
		name, rest = "version", nil
	case "--help", "-h":
		name = "help"
		if len(rest) > 0 {
			if _, known := byName(rest[0]); !known {
				rest = nil
			}
			rest = rest[:min(len(rest), 1)]
		}
	}
	c, ok = byName(name)
	return c, rest, ok
}

func byName(name string) (command, bool) {
	for _, c := range commands() {
		if c.name == name {
			return c, true
		}
	}
	return command{}, false
}

// run reads the words after the command's name, does what they ask for, and returns
// the code to exit with.
func (c command) run(words []string) int {
	flags, do := c.flags()
	err := flags.Parse(words)
	if errors.Is(err, flag.ErrHelp) {
		return say(c.name, c.help())
	}
	word, rest := flags.Arg(0), flags.Args()
	if c.operand.name != "" && len(rest) > 0 {
		rest = rest[1:]
	}
	switch {
	case err != nil:
	case len(rest) > 0:
		err = fmt.Errorf("it does not take %s", entrypoint.Shown(rest[:1]))
	default:
		err = c.operand.check(word)
	}
	if err == nil {
		return do(word)
	}
	refuse(os.Stderr, fmt.Errorf("%s: %w; stablehand %[1]s --help tells more; for a command of that name write stablehand -- %[3]s",
		c.name, err, entrypoint.Shown(append([]string{c.name}, words...))))
	return c.wrong
}

// flags are the command's, and what is to be done when they have been read.
func (c command) flags() (*flag.FlagSet, func(word string) int) {
	flags := flag.NewFlagSet(c.name, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.Usage = func() {}
	return flags, c.prepare(flags)
}

// option is a flag as it is shown. The value is the name of what it takes, if it takes
// anything.
type option struct{ name, value, usage string }

func (o option) String() string { return strings.TrimSpace("--" + o.name + " " + o.value) }

// options are the command's, in the order of their names.
func (c command) options() (list []option) {
	flags, _ := c.flags()
	flags.VisitAll(func(f *flag.Flag) {
		value, usage := flag.UnquoteUsage(f)
		list = append(list, option{f.Name, value, usage})
	})
	return list
}

// synopsis is the command with all that it takes.
func (c command) synopsis() string {
	text := "stablehand " + c.name
	for _, option := range c.options() {
		text += " [" + option.String() + "]"
	}
	switch {
	case c.operand.required:
		text += " " + c.operand.name
	case c.operand.name != "":
		text += " [" + c.operand.name + "]"
	}
	return text
}

// check says why a word is not what the operand may be. The word is empty where
// there is none.
func (o operand) check(word string) error {
	switch {
	case o.name == "", word == "" && !o.required:
		return nil
	case word == "":
		return fmt.Errorf("%s is missing: one of %s", o.name, strings.Join(o.one(), ", "))
	case slices.Contains(o.one(), word):
		return nil
	}
	return fmt.Errorf("%s is none of %s", entrypoint.Shown([]string{word}), strings.Join(o.one(), ", "))
}

// say prints what a command was asked for, and returns the code to exit with.
func say(name, text string) int {
	if _, err := os.Stdout.WriteString(text); err != nil {
		fmt.Fprintf(os.Stderr, "stablehand: %s: %v\n", name, err)
		return entrypoint.ExitFailed
	}
	return 0
}
