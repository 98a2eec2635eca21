package main

import (
	"fmt"
	"strings"
)

func shells() []string { return []string{"bash", "zsh", "fish"} }

// showCompletion prints the script of one of them.
func showCompletion(shell string) int {
	script := map[string]func() string{"bash": bashCompletion, "zsh": zshCompletion, "fish": fishCompletion}[shell]
	return say("completion", script())
}

// globals are what may be the first word beside the commands.
var globals = []option{{"help", "", "what stablehand does"}, {"version", "", "the version of stablehand"}}

// choices are what may come after the command's name: its options, and its operand.
func (c command) choices() []string {
	words := append(dashed(c.options()), "--help")
	if c.operand.name != "" {
		words = append(c.operand.one(), words...)
	}
	return words
}

func dashed(options []option) (words []string) {
	for _, o := range options {
		words = append(words, "--"+o.name)
	}
	return words
}

// bashCompletion leaves all that are no words of ours to bash, as names of files.
func bashCompletion() string {
	var script strings.Builder
	fmt.Fprintf(&script, `# bash completion for stablehand
_stablehand() {
	local word=${COMP_WORDS[COMP_CWORD]} choices
	COMPREPLY=()
	if ((COMP_CWORD == 1)); then
		COMPREPLY=($(compgen -W '%s' -- "$word"))
		return
	fi
	case ${COMP_WORDS[1]} in
`, strings.Join(append(commandNames(), dashed(globals)...), " "))
	for _, c := range commands() {
		fmt.Fprintf(&script, "\t%s) choices='%s' ;;\n", c.name, strings.Join(c.choices(), " "))
	}
	script.WriteString(`	*) return ;;
	esac
	compopt +o default +o bashdefault
	case ${COMP_WORDS[COMP_CWORD-1]} in
`)
	for _, name := range valued() {
		fmt.Fprintf(&script, "\t--%s) return ;;\n", name)
	}
	script.WriteString(`	esac
	COMPREPLY=($(compgen -W "$choices" -- "$word"))
}
complete -o default -o bashdefault -F _stablehand stablehand
`)
	return script.String()
}

// valued are the names of the options that take a value, which nobody can complete.
func valued() (names []string) {
	seen := map[string]bool{}
	for _, c := range commands() {
		for _, o := range c.options() {
			if o.value != "" && !seen[o.name] {
				seen[o.name] = true
				names = append(names, o.name)
			}
		}
	}
	return names
}

// zshCompletion leaves the words of another command to what zsh has for that. The
// script may be sourced, or be found by compinit, which calls it as the function.
func zshCompletion() string {
	var script strings.Builder
	script.WriteString("#compdef stablehand\n_stablehand() {\n\tif ((CURRENT == 2)); then\n\t\tlocal -a own\n\t\town=(\n")
	for _, c := range commands() {
		fmt.Fprintf(&script, "\t\t\t%s\n", quotedForShell(c.name+":"+strings.ReplaceAll(c.summary, ":", `\:`)))
	}
	script.WriteString("\t\t)\n\t\t_describe -t commands command own\n")
	fmt.Fprintf(&script, "\t\t_arguments %s\n\t\t_files\n\t\treturn\n\tfi\n", zshOptions(globals))
	script.WriteString("\tshift words\n\t((CURRENT--))\n\tcase $words[1] in\n")
	for _, c := range commands() {
		fmt.Fprintf(&script, "\t%s) _arguments %s", c.name, zshOptions(append(c.options(), option{"help", "", "what it does"})))
		if c.operand.name != "" {
			fmt.Fprintf(&script, " %s", quotedForShell("1:"+c.operand.name+":("+strings.Join(c.operand.one(), " ")+")"))
		}
		script.WriteString(" ;;\n")
	}
	script.WriteString(`	*) _normal ;;
	esac
}
if [ "$funcstack[1]" = _stablehand ]; then
	_stablehand "$@"
else
	compdef _stablehand stablehand
fi
`)
	return script.String()
}

// zshOptions are the specs of _arguments, see zshcompsys(1).
func zshOptions(options []option) string {
	var specs []string
	for _, o := range options {
		usage := strings.NewReplacer(`[`, `\[`, `]`, `\]`, ":", `\:`).Replace(o.usage)
		spec := "--" + o.name + "[" + usage + "]"
		if o.value != "" {
			spec += ":" + o.value + ": "
		}
		specs = append(specs, quotedForShell(spec))
	}
	return strings.Join(specs, " ")
}

// fishCompletion leaves all that are no words of ours to fish, as names of files.
func fishCompletion() string {
	var script strings.Builder
	script.WriteString(`# fish completion for stablehand
function __stablehand_is
    set -l words (commandline -opc)
    test (count $words) -gt 1; and contains -- $words[2] $argv
end
function __stablehand_first
    test (count (commandline -opc)) -eq 1
end
`)
	add := func(when, format string, args ...any) {
		fmt.Fprintf(&script, "complete -c stablehand -n '%s' %s\n", when, fmt.Sprintf(format, args...))
	}
	for _, o := range globals {
		add("__stablehand_first", "-l %s -d %s", o.name, quotedForShell(o.usage))
	}
	for _, c := range commands() {
		add("__stablehand_first", "-a %s -d %s", c.name, quotedForShell(c.summary))
	}
	any := "__stablehand_is " + strings.Join(commandNames(), " ")
	add(any, "-f")
	add(any, "-l help -d 'what it does'")
	for _, c := range commands() {
		is := "__stablehand_is " + c.name
		for _, o := range c.options() {
			takes := ""
			if o.value != "" {
				takes = " -x"
			}
			add(is, "-l %s%s -d %s", o.name, takes, quotedForShell(o.usage))
		}
		if c.operand.name != "" {
			add(is, "-a '%s'", strings.Join(c.operand.one(), " "))
		}
	}
	return script.String()
}

// quotedForShell is a text that has no meaning for a shell, in the single quotes that
// bash, zsh and fish know alike: none of them may stand in it.
func quotedForShell(text string) string {
	return "'" + strings.ReplaceAll(text, "'", "’") + "'"
}
