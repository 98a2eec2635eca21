package pattern_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// What is compiled late would be found wrong late.
func TestAllPatternsOfTheProgramCompile(t *testing.T) {
	found := 0
	for _, dir := range []string{"cmd", "entrypoint", "internal", "reaper"} {
		err := filepath.WalkDir(filepath.Join("../..", dir), func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") {
				return err
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
			if err != nil {
				return err
			}
			ast.Inspect(file, func(n ast.Node) bool {
				if text, is := exprOf(n); is {
					found++
					if _, err := regexp.Compile(text); err != nil {
						t.Errorf("%s: %v", path, err)
					}
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if found < 10 {
		t.Errorf("only %d were found", found)
	}
}

// exprOf is the pattern in a call of New; one that does not compile where that is no literal.
func exprOf(n ast.Node) (text string, is bool) {
	call, ok := n.(*ast.CallExpr)
	if !ok {
		return "", false
	}
	function, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || function.Sel.Name != "New" || len(call.Args) != 1 {
		return "", false
	}
	if name, ok := function.X.(*ast.Ident); !ok || name.Name != "pattern" {
		return "", false
	}
	literal, ok := call.Args[0].(*ast.BasicLit)
	if !ok {
		return "(", true
	}
	text, err := strconv.Unquote(literal.Value)
	return text, err == nil
}
