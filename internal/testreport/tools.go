package main

import (
	_ "embed"
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"strings"
)

//go:embed tools.txt
var toolsText string

// tool is a program that tests run.
type tool struct {
	command string
	from    string // Debian's package, or what make builds where that is a path
}

func parseTools(text string) (tools []tool) {
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		if words := strings.Fields(line); len(words) == 2 {
			tools = append(tools, tool{words[0], words[1]})
		}
	}
	return tools
}

// missing are the tools that reasons why tests were skipped name, and that are not
// on PATH.
func missing(tools []tool, reasons []string) (wanted []tool) {
	for _, t := range tools {
		word := regexp.MustCompile(`(^|[^\w-])` + regexp.QuoteMeta(t.command) + `($|[^\w-])`)
		if _, err := exec.LookPath(t.command); err != nil && slices.ContainsFunc(reasons, word.MatchString) {
			wanted = append(wanted, t)
		}
	}
	return wanted
}

// howToGet is what to type for tools that are missing.
func howToGet(tools []tool) (lines []string) {
	var commands, packages, built []string
	for _, t := range tools {
		commands = append(commands, t.command)
		if strings.Contains(t.from, "/") {
			built = append(built, t.from)
		} else if !slices.Contains(packages, t.from) {
			packages = append(packages, t.from)
		}
	}
	if tools != nil {
		lines = append(lines, fmt.Sprintf("tests were skipped for want of: %s", strings.Join(commands, ", ")))
	}
	if packages != nil {
		lines = append(lines, "to have them on Debian: apt-get install "+strings.Join(packages, " "))
	}
	if built != nil {
		lines = append(lines, "to build them: make "+strings.Join(built, " "))
	}
	return lines
}
