package envfile

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"

	"github.com/hashicorp/go-envparse"
)

// byteOrderMark may stand before the first line, as docker --env-file has it, too.
var byteOrderMark = []byte("\ufeff")

// parse reads the lines of a file. go-envparse stops at the first error, and all
// of them are to be told at once: so each line is read as a file of its own.
func parse(place string, content []byte) (found []Variable, err error) {
	var errs []error
	n := 0
	for line := range bytes.Lines(bytes.TrimPrefix(content, byteOrderMark)) {
		n++
		line = bytes.TrimSpace(withoutComment(line))
		if len(line) == 0 {
			continue
		}
		v, wrong := parseLine(line)
		if wrong != nil {
			errs = append(errs, wrong.at(fmt.Sprintf("%s:%d", place, n)))
			continue
		}
		found = append(found, v)
	}
	return found, errors.Join(errs...)
}

func parseLine(line []byte) (v Variable, wrong *fault) {
	parsed, err := envparse.Parse(bytes.NewReader(line))
	if err != nil {
		return v, explain(line, err)
	}
	for v.Name, v.Value = range parsed { // there is one
	}
	return v, wrongWith(v)
}

// explain is the fault behind an error of go-envparse, whose own words have
// characters of the line in them.
func explain(line []byte, err error) *fault {
	if of, ok := errors.AsType[*envparse.ParseError](err); ok {
		err = of.Err
	}
	switch err {
	case envparse.ErrMissingSeparator:
		return &noSeparator
	case envparse.ErrUnmatchedDouble, envparse.ErrUnmatchedSingle:
		return &openQuotes
	case bufio.ErrTooLong:
		return &longLine
	}
	before, after, _ := bytes.Cut(line, []byte("="))
	before = bytes.TrimPrefix(bytes.TrimSpace(before), []byte("export "))
	switch {
	case !variableName().Match(before):
		return &noName
	case bytes.ContainsFunc(bytes.TrimSpace(after), func(r rune) bool { return r < ' ' }):
		return &control
	}
	return &badEscape
}

// withoutComment is a line up to the # that is in no quotes. go-envparse, which
// knows comments itself, takes with them the last byte of a value that ends in a
// character beyond ASCII (v0.1.0).
func withoutComment(line []byte) []byte {
	var quote byte
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case quote == '"' && c == '\\':
			i++
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '"' || c == '\''):
			quote = c
		case quote == 0 && c == '#':
			return line[:i]
		}
	}
	return line
}
