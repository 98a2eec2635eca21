package docs

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/stablehand/stablehand/entrypoint/status"
)

var update = flag.Bool("update", false, "write what the program says into reference/commands.md")

// TestHelpIsWhatTheProgramSays holds what the reference shows of each command's help
// against the program.
func TestHelpIsWhatTheProgramSays(t *testing.T) {
	const page = "reference/commands.md"
	program := filepath.Join(t.TempDir(), "stablehand")
	if out, err := exec.Command("go", "build", "-o", program, "../cmd/stablehand").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	help := func(words string) string {
		out, err := exec.Command(program, strings.Fields(words)...).Output()
		if err != nil {
			t.Errorf("stablehand %s: %v", words, err)
		}
		return string(out)
	}
	text, shown := read(t, page), map[string]bool{}
	want := regexp.MustCompile("(?ms)^```console\n\\$ stablehand (help|\\w+ --help)\n(.*?)^```$").ReplaceAllStringFunc(text, func(block string) string {
		_, line, _ := strings.Cut(block, "$ stablehand ")
		words, _, _ := strings.Cut(line, "\n")
		shown[strings.Fields(words)[0]] = true
		return "```console\n$ stablehand " + words + "\n" + help(words) + "```"
	})
	switch {
	case *update:
		if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	case text != want:
		t.Errorf("%s does not show what the program says; go test ./docs -update writes it", page)
	}
	for _, command := range regexp.MustCompile(`(?m)^  stablehand ([a-z]+) `).FindAllStringSubmatch(help("help"), -1) {
		if own := help(command[1] + " --help"); !shown[command[1]] && own != help("help") {
			t.Errorf("%s does not show stablehand %s --help", page, command[1])
		}
	}
}

// TestEachFieldOfTheStateIsTold looks for each name that the state has as JSON.
func TestEachFieldOfTheStateIsTold(t *testing.T) {
	const page = "reference/control-api.md"
	text := read(t, page)
	names := fields(reflect.TypeFor[status.Status](), map[reflect.Type]bool{})
	if len(names) < 50 {
		t.Errorf("only %d names were found", len(names))
	}
	for _, name := range names {
		if !strings.Contains(text, "`"+name+"`") {
			t.Errorf("%s does not tell of %s", page, name)
		}
	}
}

// fields are the names that a type has as JSON, and all that it is made of.
func fields(of reflect.Type, seen map[reflect.Type]bool) (names []string) {
	switch of.Kind() {
	case reflect.Pointer, reflect.Slice:
		return fields(of.Elem(), seen)
	case reflect.Struct:
	default:
		return nil
	}
	if seen[of] || !strings.HasPrefix(of.PkgPath(), "github.com/stablehand/") {
		return nil
	}
	seen[of] = true
	for i := range of.NumField() {
		name, _, _ := strings.Cut(of.Field(i).Tag.Get("json"), ",")
		if name != "" && name != "-" {
			names = append(names, name)
		}
		if name != "-" {
			names = append(names, fields(of.Field(i).Type, seen)...)
		}
	}
	return names
}

// TestEachQuestionIsTold looks for each path that the control server answers.
func TestEachQuestionIsTold(t *testing.T) {
	const page = "reference/control-api.md"
	text := read(t, page)
	answered := regexp.MustCompile(`HandleFunc\("([A-Z]+ [^"]+)"`).FindAllStringSubmatch(read(t, "../entrypoint/control/server.go"), -1)
	if len(answered) < 6 {
		t.Errorf("only %d paths were found", len(answered))
	}
	for _, found := range answered {
		if !strings.Contains(text, "| `"+found[1]+"` |") {
			t.Errorf("%s does not tell of %s", page, found[1])
		}
	}
}
