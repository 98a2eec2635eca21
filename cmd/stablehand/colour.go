package main

import "os"

// palette says whether colours are to be used.
type palette bool

// colours are used on a terminal that can move its cursor, unless NO_COLOR is set to
// anything (https://no-color.org).
func colours(f *os.File) palette {
	columns, _ := screen(f)
	return columns > 0 && os.Getenv("NO_COLOR") == ""
}

// colour is how a terminal is told of one, see console_codes(4).
type colour string

const (
	bold   colour = "\x1b[1m"
	red    colour = "\x1b[31m"
	green  colour = "\x1b[32m"
	yellow colour = "\x1b[33m"

	plainAgain = "\x1b[0m"
)

// paint gives a text, of one line, a colour.
func (p palette) paint(c colour, text string) string {
	if !p || c == "" {
		return text
	}
	return string(c) + text + plainAgain
}
