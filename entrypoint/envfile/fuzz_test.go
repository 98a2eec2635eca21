package envfile

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// inFile is what stands between the path of a file and what is wrong there.
var inFile = regexp.MustCompile(`^(:\d+)?: `)

// FuzzErrorsShowNoValue writes a file and a directory with one file, and has what
// they hold read. What is told of it is, but for where it was, one of the sentences
// that are there for everybody.
func FuzzErrorsShowNoValue(f *testing.F) {
	for _, content := range []string{
		"hunter2", "A=hunter2", "=hunter2", "hunter2 hunter3=", `A="hunter2`, `A=hunter2'`, `A="\hunter2"`, `A="\uhunter2"`,
		"A=hunter2\x00", "A=hunter2\t3", `A="hunter2\u0000"`, "STABLEHAND_A=hunter2\nhunter3\n", "A=é#", "\xffA=\xff",
	} {
		f.Add("A", content)
	}
	f.Add("STABLEHAND_A", "hunter2")
	f.Add("A-B", "hunter2\x00\n")
	f.Add("A\nB: C", "")
	var sentences []string
	for _, of := range []fault{noSeparator, openQuotes, badEscape, control, longLine, tooLarge, noName, reserved, nul, tooLong} {
		sentences = append(sentences, of.wrong+": "+of.right)
	}
	f.Fuzz(func(t *testing.T, name, content string) {
		dir := t.TempDir()
		paths := []string{filepath.Join(dir, "file"), filepath.Join(dir, "directory")}
		if err := os.WriteFile(paths[0], []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(paths[1], 0o700); err != nil {
			t.Fatal(err)
		}
		if filepath.Base(name) == name { // else it is no name of a file
			_ = os.WriteFile(filepath.Join(paths[1], name), []byte(content), 0o600) // too long, or with a NUL
		}
		vars, err := Read(t.Context(), paths)
		if err == nil {
			for _, v := range vars {
				if wrong := wrongWith(v); wrong != nil {
					t.Errorf("%q, of which %v", v, wrong)
				}
			}
			return
		}
		for line := range strings.SplitSeq(err.Error(), "\n") {
			_, said, ok := strings.Cut(line, shown(filepath.Join(paths[1], name))+": ")
			if !ok {
				said = inFile.ReplaceAllString(strings.TrimPrefix(line, paths[0]), "")
			}
			if !slices.Contains(sentences, said) {
				t.Errorf("this may show something: %s", line)
			}
		}
	})
}
