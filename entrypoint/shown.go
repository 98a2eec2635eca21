package entrypoint

import (
	"strings"

	"github.com/kballard/go-shellquote"

	"github.com/stablehand/stablehand/internal/pattern"
)

// Shown is a command line as it may be shown, also where many read the log: of
// each NAME=VALUE, gunicorn's --env, env's or a shell's, only NAME=…, of a URL its user,
// but no password, and of an application that is a call no arguments.
func Shown(argv []string) string {
	words, before := make([]string, len(argv)), ""
	for i, word := range argv {
		words[i], before = shown(before, word), word
	}
	return shellquote.Join(words...)
}

var (
	// assignment is a word that gives a variable its value, joined to gunicorn's
	// option, which may be bundled, or to env's -S, or alone.
	assignment = pattern.New(`^(--env=[^=]+=|(?:-[RD]*e=?|-[a-z]*S)?[A-Za-z_][\w.-]*\+?=)(?s:.+)$`)

	// call is an application that is one.
	call = pattern.New(`^([\w.]+:[\w.]+)\((?s:.+)\)$`)

	// envOption is gunicorn's option apart from its value.
	envOption = pattern.New(`^(--env|-[RD]*e)$`)

	// lineOption is a shell's option before a whole line.
	lineOption = pattern.New(`^-[a-z]*c$`)

	// shellWord is one of a line of shell, with its quotes.
	shellWord = pattern.New(`(?s)(?:[^\s;&|()'"\\]|\\.|'[^']*'|"(?:[^"\\]|\\.)*")+`)

	password = pattern.New(`(://[^/\s:@'"]*):[^\s@'"]+@`)

	// query is what a URL has after its path.
	query = pattern.New(`(://[^?#]*\?)[^#]+`)
)

const hidden = "…"

// shown is a word as it may be shown, after the one before it.
func shown(before, word string) string {
	if name, _, ok := strings.Cut(word, "="); ok {
		if envOption().MatchString(before) {
			return name + "=" + hidden
		}
		if m := assignment().FindStringSubmatch(word); m != nil && !lineOption().MatchString(before) {
			return m[1] + hidden
		}
	}
	if strings.HasSuffix(word, ")") {
		if m := call().FindStringSubmatch(word); m != nil {
			return m[1] + "(" + hidden + ")"
		}
	}
	if strings.ContainsAny(word, " \t\n") {
		word = shownLine(word)
	}
	return withoutPassword(word)
}

// withoutPassword is a text in which each URL with a user has no password.
func withoutPassword(text string) string {
	if !strings.Contains(text, "://") {
		return text
	}
	return password().ReplaceAllString(text, "$1:"+hidden+"@")
}

// shownValue is a variable's value as it may be shown.
func shownValue(value string) string {
	value = call().ReplaceAllString(value, "$1("+hidden+")")
	return query().ReplaceAllString(withoutPassword(value), "$1"+hidden)
}

// shownLine is a line of shell as it may be shown. Of its words those that hide
// something lose their quotes, or get others; all else is as it was.
func shownLine(line string) string {
	before := ""
	return shellWord().ReplaceAllStringFunc(line, func(quoted string) string {
		word := quoted
		if words, err := shellquote.Split(quoted); err == nil && len(words) == 1 {
			word = words[0]
		}
		show := shown(before, word)
		before = word
		if show == word {
			return quoted
		}
		return shellquote.Join(show)
	})
}
