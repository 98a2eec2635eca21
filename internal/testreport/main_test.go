package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const header = `{"Action":"start","Package":"p"}
{"Action":"run","Package":"p","Test":"TestA"}
{"Action":"run","Package":"p","Test":"TestA/one"}
`

func TestReport(t *testing.T) {
	for name, test := range map[string]struct {
		events string
		want   []string
		well   bool
	}{
		"all is well": {header + `{"Action":"output","Package":"p","Test":"TestA/one","Output":"        clients saw requests=7\n"}
{"Action":"output","Package":"p","Test":"TestA/one","Output":"    a_test.go:83: clients saw | a change | 8 |\n"}
{"Action":"pass","Package":"p","Test":"TestA/one"}
{"Action":"pass","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Output":"PASS\n"}
{"Action":"output","Package":"p","Output":"ok  \tp\t0.1s\n"}
{"Action":"pass","Package":"p"}
`, []string{"TestA/one: clients saw requests=7\n", "TestA/one: clients saw | a change | 8 |\n", "ok  \tp\t0.1s\n", "1 passed, 0 failed, 0 skipped\n"}, true},
		"a test fails": {header + `{"Action":"output","Package":"p","Test":"TestA/one","Output":"    a_test.go:7: why\n"}
{"Action":"fail","Package":"p","Test":"TestA/one"}
{"Action":"fail","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Output":"FAIL\tp\t0.1s\n"}
{"Action":"fail","Package":"p"}
`, []string{"a_test.go:7: why\n", "FAIL\tp\t0.1s\n", "0 passed, 1 failed, 0 skipped\n"}, false},
		"a test is skipped": {header + `{"Action":"output","Package":"p","Test":"TestA/one","Output":"    a_test.go:7: no such machine\n"}
{"Action":"skip","Package":"p","Test":"TestA/one"}
{"Action":"pass","Package":"p","Test":"TestA"}
{"Action":"pass","Package":"p"}
`, []string{"skipped: TestA/one: no such machine\n", "0 passed, 0 failed, 1 skipped\n"}, true},
		"a package does not build": {`{"ImportPath":"p","Action":"build-output","Output":"p.go:1: undefined: x\n"}
{"ImportPath":"p","Action":"build-fail"}
`, []string{"p.go:1: undefined: x\n"}, false},
		"a test never ends": {header, []string{"TestA/one did not end"}, false},
		"go test refuses":   {"flag provided but not defined: -x\n", []string{"flag provided", "no test ran"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			r := newReport(&out, false)
			if err := r.read(strings.NewReader(test.events)); err != nil {
				t.Fatal(err)
			}
			if well := r.close(nil); well != test.well {
				t.Errorf("all is well: %v, want %v", well, test.well)
			}
			for _, want := range test.want {
				if !strings.Contains(out.String(), want) {
					t.Errorf("%q is not in:\n%s", want, out.String())
				}
			}
		})
	}
}

// TestModules runs go test itself: what fails in one module is not lost because
// all is well in another.
func TestModules(t *testing.T) {
	module := func(files map[string]string) string {
		dir := t.TempDir()
		files["go.mod"] = "module m\n"
		for name, text := range files {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	passes := module(map[string]string{"a_test.go": "package m\nimport \"testing\"\nfunc TestA(*testing.T) {}\n"})
	fails := module(map[string]string{"a_test.go": "package m\nimport \"testing\"\nfunc TestA(t *testing.T) { t.Fail() }\n"})
	unbuilt := module(map[string]string{"a.go": "package m\nimport _ \"none.example/x\"\n"})
	nothing := module(map[string]string{})
	for name, test := range map[string]struct {
		dirs []string
		sums string
		well bool
	}{
		"all is well":           {[]string{passes, passes}, "2 passed, 0 failed, 0 skipped\n", true},
		"the first fails":       {[]string{fails, passes}, "1 passed, 1 failed, 0 skipped\n", false},
		"the first is no build": {[]string{unbuilt, passes}, "1 passed, 0 failed, 0 skipped\n", false},
		"one has its own flags": {[]string{fails + ",-skip=TestA", passes}, "1 passed, 0 failed, 0 skipped\n", true},
		"the last has nothing":  {[]string{passes, nothing}, "1 passed, 0 failed, 0 skipped\n", false},
	} {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			r := newReport(&out, false)
			for _, dir := range test.dirs {
				if err := r.test(dir, []string{"-count=1"}); err != nil {
					t.Fatal(err)
				}
			}
			if well := r.close(nil); well != test.well || !strings.HasSuffix(out.String(), test.sums) {
				t.Errorf("all is well: %v, want %v, and %q in:\n%s", well, test.well, test.sums, out.String())
			}
		})
	}
}

func TestSkips(t *testing.T) {
	var events strings.Builder
	for _, name := range []string{"TestA", "TestB", "TestC", "TestD", "TestE"} {
		fmt.Fprintf(&events, `{"Action":"run","Package":"p","Test":%[1]q}
{"Action":"output","Package":"p","Test":%[1]q,"Output":"    a_test.go:7: no engine\n"}
{"Action":"skip","Package":"p","Test":%[1]q}
`, name)
	}
	for _, noSkips := range []bool{false, true} {
		var out strings.Builder
		r := newReport(&out, noSkips)
		if err := r.read(strings.NewReader(events.String())); err != nil {
			t.Fatal(err)
		}
		if well := r.close(nil); well == noSkips {
			t.Errorf("with -no-skips=%v all is well: %v", noSkips, well)
		}
		if line := "skipped: TestA, TestB, TestC and 2 more: no engine\n"; strings.Count(out.String(), line) != 1 {
			t.Errorf("%q is not there once in:\n%s", line, out.String())
		}
	}
}
