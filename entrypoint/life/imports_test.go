package life_test

import (
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// allowed is all that package life may stand on: nothing that reaches the world.
var allowed = []string{
	"context", "crypto/sha256", "errors", "fmt", "log/slog", "maps", "math/rand/v2", "runtime", "slices", "strings",
	"sync/atomic", "time",
	"github.com/stablehand/stablehand/entrypoint/status",
}

func TestLifeReachesNothingByItself(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) < 10 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, spec := range parsed.Imports {
			if path, _ := strconv.Unquote(spec.Path.Value); !slices.Contains(allowed, path) {
				t.Errorf("%s imports %s", file, path)
			}
		}
	}
}
