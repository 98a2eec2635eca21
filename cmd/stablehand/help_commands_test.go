package main_test

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// asked is what stablehand says to words in surroundings that have nothing, and a
// wrong environment.
func asked(t *testing.T, words ...string) (stdout, stderr string, code int) {
	t.Helper()
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	var out, errs strings.Builder
	cmd := exec.Command(bin, words...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = t.TempDir(), &out, &errs
	cmd.Env = []string{"STABLEHAND_NO_SUCH=1", "STABLEHAND_DEBOUNCE=soon", "STABLEHAND_CONTROL=" + cmd.Dir + "/none/control", "GORACE=" + exitOnRace}
	err = cmd.Run()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// Help needs no gunicorn, no socket, no right environment.
func TestHelpIsAlwaysThere(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ words, begins string }{
		{"help", "stablehand is "},
		{"--help", "stablehand is "},
		{"-h", "stablehand is "},
		{"--help gunicorn", "stablehand is "},
		{"-h app:app", "stablehand is "},
		{"help status", "usage: stablehand status [--json] [--watch]\n"},
		{"--help status", "usage: stablehand status "},
		{"-h status", "usage: stablehand status "},
		{"status --help", "usage: stablehand status "},
		{"status -h", "usage: stablehand status "},
		{"reload --help", "usage: stablehand reload "},
		{"healthcheck --help", "usage: stablehand healthcheck "},
		{"env --help", "usage: stablehand env"},
		{"version --help", "usage: stablehand version\n"},
		{"help --help", "usage: stablehand help [COMMAND]\n"},
		{"completion --help", "usage: stablehand completion SHELL\n"},
		{"man --help", "usage: stablehand man\n"},
		{"version", "stablehand "},
		{"--version", "stablehand "},
		{"--version -w 4", "stablehand "},
	} {
		stdout, stderr, code := asked(t, strings.Fields(test.words)...)
		if code != 0 || stderr != "" || !strings.HasPrefix(stdout, test.begins) {
			t.Errorf("stablehand %s: exit code %d, %q and %q; want 0 and %q", test.words, code, stdout, stderr, test.begins)
		}
	}
	if stdout, _, _ := asked(t, "--help"); !strings.Contains(stdout, "gunicorn's own help: stablehand gunicorn --help\n") {
		t.Errorf("it is not said where gunicorn's own help is:\n%s", stdout)
	}
}

func TestWrongWordsOfACommandSayWhatIsRight(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		words, says string
		code        int
	}{
		{"help stauts", "help: stauts is none of reload, status, ", 2},
		{"completion", "completion: SHELL is missing: one of bash, zsh, fish; ", 2},
		{"completion tcsh", "completion: tcsh is none of bash, zsh, fish; ", 2},
		{"man gunicorn", "write stablehand -- man gunicorn\n", 2},
		{"version --short", "stablehand version --help tells more", 2},
		{"healthcheck --no", "stablehand healthcheck --help tells more", 1},
	} {
		stdout, stderr, code := asked(t, strings.Fields(test.words)...)
		if code != test.code || stdout != "" || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, test.says) {
			t.Errorf("stablehand %s: exit code %d, %q and %q; want %d and %q", test.words, code, stdout, stderr, test.code, test.says)
		}
	}
}

// What could not be written was not shown.
func TestHelpThatCannotBeWrittenFails(t *testing.T) {
	t.Parallel()
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	cmd := exec.Command(bin, "help")
	cmd.Stdout = full
	if cmd.Run(); cmd.ProcessState.ExitCode() != 1 {
		t.Errorf("%v, want exit code 1", cmd.ProcessState)
	}
}

// The manual page is one that mandoc and groff have nothing to say to.
func TestManualPage(t *testing.T) {
	t.Parallel()
	page, stderr, code := asked(t, "man")
	if code != 0 {
		t.Fatal(stderr)
	}
	file := filepath.Join(t.TempDir(), "stablehand.1")
	if err := os.WriteFile(file, []byte(page), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, line := range [][]string{{"mandoc", "-Tlint", "-Wstyle"}, {"groff", "-man", "-ww", "-z", "-Tutf8"}} {
		needTool(t, line[0])
		out, err := exec.Command(line[0], append(line[1:], file)...).CombinedOutput()
		for complaint := range strings.Lines(string(out)) {
			if !strings.Contains(complaint, "missing date") { // a binary without a commit has none
				t.Errorf("%v: %v: %s", line, err, complaint)
			}
		}
	}
	needTool(t, "mandoc")
	text, err := exec.Command("mandoc", "-Tascii", "-Owidth=200", file).Output()
	if err != nil {
		t.Fatal(err)
	}
	shown := overstruck.ReplaceAllString(string(text), "")
	for _, want := range []string{
		"stablehand - the container's PID 1 for gunicorn", "stablehand reload [--no-wait] [--timeout DURATION]",
		"STABLEHAND_WATCH_IGNORE", "*~,#*#,.#*,", "--timeout DURATION\n",
	} {
		if !strings.Contains(shown, want) {
			t.Errorf("no %q on the page", want)
		}
	}
}

// overstruck is the first of the two characters that make one bold.
var overstruck = regexp.MustCompile(`.\x08`)

// needTool skips a test of what a machine lacks.
func needTool(t *testing.T, name string) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skip("no " + name)
	}
}

// In the shells themselves, at whose prompt the keys are typed, or which are asked
// as they ask themselves.
func TestCompletion(t *testing.T) {
	const path = "PATH=${STABLEHAND%/*}:$PATH; "
	for name, shell := range map[string]struct {
		line  []string
		setUp string
	}{
		"bash": {[]string{"bash", "--norc", "--noprofile", "-i"}, path + "source <(stablehand completion bash)"},
		"zsh":  {[]string{"env", "TERM=xterm", "zsh", "-f", "-i"}, path + "autoload -Uz compinit; compinit -u -D; source <(stablehand completion zsh)"},
		"zsh, by a package": {[]string{"env", "TERM=xterm", "zsh", "-f", "-i"},
			path + "mkdir .site; stablehand completion zsh >.site/_stablehand; fpath=($PWD/.site $fpath); autoload -Uz compinit; compinit -u -D"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			needTool(t, strings.Split(name, ",")[0])
			completesAtThePrompt(t, shell.line, shell.setUp)
		})
	}
	t.Run("fish", func(t *testing.T) {
		t.Parallel()
		needTool(t, "fish")
		offered := fishOffers(t)
		for typed, want := range completed {
			if got := strings.Join(offered[typed], " "); got != want.offered {
				t.Errorf("%q: fish offers %q, want %q", typed, got, want.offered)
			}
		}
	})
}

// completesAtThePrompt types each line, the key of completion, and, before the line
// and after, what has the shell say what it has become.
func completesAtThePrompt(t *testing.T, shell []string, setUp string) {
	term := onTerminal(t, inSomeDirectory(t, shell)...)
	term.enter(setUp + "; echo set''up\n")
	term.see("\nsetup\r\n")
	const ctrlA = "\x01"
	for typed, want := range completed {
		term.enter(typed + "\t" + ctrlA + "echo ok: \n")
		term.see("\nok: " + want.line + "\r\n")
	}
}

// fishOffers is what fish offers to complete each line with.
func fishOffers(t *testing.T) map[string][]string {
	t.Helper()
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	const each = `stablehand completion fish | source; for line in $argv; echo "line $line"; complete -C $line; end`
	words := inSomeDirectory(t, append([]string{"fish", "--no-config", "-c", each}, slices.Collect(maps.Keys(completed))...))
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir(), "PATH="+filepath.Dir(bin)+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	offered, typed := map[string][]string{}, ""
	for line := range strings.Lines(string(out)) {
		line = strings.TrimSuffix(line, "\n")
		if next, ok := strings.CutPrefix(line, "line "); ok {
			typed = next
			continue
		}
		word, _, _ := strings.Cut(line, "\t") // what comes after tells of it
		offered[typed] = append(offered[typed], word)
	}
	return offered
}

// inSomeDirectory has a command run in a directory that holds nothing but a-file.
func inSomeDirectory(t *testing.T, words []string) []string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a-file"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	return append([]string{"env", "--chdir=" + dir}, words...)
}

// completed are lines, what they become with the key of completion, and, in a
// directory with a file, what can come then.
var completed = map[string]struct{ line, offered string }{
	"stablehand rel":                     {"stablehand reload", "reload"},
	"stablehand --ver":                   {"stablehand --version", "--version"},
	"stablehand reload --no":             {"stablehand reload --no-wait", "--no-wait"},
	"stablehand reload --timeout 5s --n": {"stablehand reload --timeout 5s --no-wait", "--no-wait"},
	"stablehand status --j":              {"stablehand status --json", "--json"},
	"stablehand healthcheck --r":         {"stablehand healthcheck --ready", "--ready"},
	"stablehand help heal":               {"stablehand help healthcheck", "healthcheck"},
	"stablehand completion z":            {"stablehand completion zsh", "zsh"},
	"stablehand status a-fi":             {"stablehand status a-fi", ""},
	"stablehand reload --timeout a-fi":   {"stablehand reload --timeout a-fi", ""},
	"stablehand -- cat a-fi":             {"stablehand -- cat a-file", "a-file"},
	"stablehand cat a-fi":                {"stablehand cat a-file", "a-file"},
}
