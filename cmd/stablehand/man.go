package main

import (
	"fmt"
	"strings"

	"github.com/stablehand/stablehand/internal/version"
)

func showMan(string) int {
	return say("man", manPage())
}

// manPage is the manual page, in the macros of man(7): what the help tells, and the
// help of each command, and the variables.
func manPage() string {
	var page strings.Builder
	built := version.Read()
	day, _, _ := strings.Cut(built.Date, "T")
	fmt.Fprintf(&page, ".TH STABLEHAND 1 \"%s\" %s\n", day, roffQuoted("stablehand "+built.Version))
	page.WriteString(".nh\n.ad l\n") // no name of a variable is to be broken, nor stretched
	fmt.Fprintf(&page, ".SH NAME\nstablehand \\- %s\n", roff(summary))
	page.WriteString(".SH SYNOPSIS\n")
	for i, usage := range append([]string{"stablehand [GUNICORN'S WORDS]", "stablehand [--] COMMAND [WORDS]"}, synopses()...) {
		if i > 0 {
			page.WriteString(".br\n")
		}
		page.WriteString(roff(usage) + "\n")
	}
	sections, _ := manual()
	for _, s := range sections {
		page.WriteString(".SH " + roffQuoted(strings.ToUpper(s.title)) + "\n")
		roffBody(&page, s)
		if s.title == "commands" {
			for _, c := range commands() {
				roffCommand(&page, c)
			}
		}
	}
	page.WriteString(".SH SEE ALSO\ngunicorn's own help: stablehand gunicorn \\-\\-help\n")
	return page.String()
}

func synopses() (list []string) {
	for _, c := range commands() {
		list = append(list, c.synopsis())
	}
	return list
}

func roffCommand(page *strings.Builder, c command) {
	page.WriteString(".SS " + roffQuoted(c.synopsis()) + "\n")
	for _, s := range c.sections() {
		if s.title != "" && len(s.rows) > 0 {
			page.WriteString(".PP\n" + roff(titled(s.title)) + "\n")
		}
		roffBody(page, s)
	}
}

// roffBody is the rows of a section, and then its paragraphs.
func roffBody(page *strings.Builder, s section) {
	for _, r := range s.rows {
		fmt.Fprintf(page, ".TP\n\\fB%s\\fR\n%s\n", roff(r.left), roff(r.right))
	}
	for i, paragraph := range s.text {
		if i > 0 || len(s.rows) > 0 {
			page.WriteString(".PP\n")
		}
		page.WriteString(roff(paragraph) + "\n")
	}
}

// roff is a text in which roff finds nothing to obey, in lines as mandoc(1) wants them:
// a hyphen stays one that can be copied to a shell, no line begins as a request does,
// and a list without blanks may go on in the next line.
func roff(text string) string {
	escaped := strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "`", `\(ga`, "^", `\(ha`, "~", `\(ti`, ", ", ", ", ",", `,\:`)
	lines := wrap(text, helpWidth-10) // some characters take more than one
	for i, line := range lines {
		line = escaped.Replace(line)
		if strings.HasPrefix(line, ".") {
			line = `\&` + line
		}
		lines[i] = line
	}
	return strings.Join(lines, "\n")
}

// roffQuoted is the argument of a macro, which is on one line.
func roffQuoted(text string) string {
	return `"` + strings.NewReplacer("\n", " ", `"`, `\(dq`).Replace(roff(text)) + `"`
}
