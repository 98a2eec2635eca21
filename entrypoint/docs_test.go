package entrypoint_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestDocumentedLinesAreLogged looks for each message that the documents show
// in the source that logs it, as far as the message is the same every time.
func TestDocumentedLinesAreLogged(t *testing.T) {
	var source strings.Builder
	for _, pattern := range []string{"*.go", "*/*.go"} {
		files, _ := filepath.Glob(pattern)
		for _, file := range files {
			if !strings.HasSuffix(file, "_test.go") {
				source.Write(read(t, file))
			}
		}
	}
	shown := 0
	pages, _ := filepath.Glob("../docs/*.md")
	for _, file := range append(pages, "../README.md") {
		for _, found := range regexp.MustCompile(`\bmsg=(?:"([^"]+)"|(\w+))`).FindAllStringSubmatch(string(read(t, file)), -1) {
			shown++
			constant := regexp.MustCompile(`[(:0-9]`).Split(found[1]+found[2], 2)[0]
			if !strings.Contains(source.String(), `"`+constant) {
				t.Errorf("%s shows msg=%q, which is never logged", file, found[1]+found[2])
			}
		}
	}
	if shown < 20 {
		t.Errorf("only %d messages are shown", shown)
	}
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
