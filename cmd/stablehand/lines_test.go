package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTheLastExceptionIsShown(t *testing.T) {
	const mixed = `time=2026-01-02T10:00:00.000Z level=INFO msg=handoff generation=2 serving=1
{"time":"2026-01-02T10:00:00.000Z","level":"INFO","msg":"handoff"}
10:00:00.000 INF handoff generation=2 serving=1
[2026-01-02 10:00:00 +0000] [12] [INFO] Booting worker with pid: 12
[2026-01-02 10:00:00 +0000] [12] [ERROR] Exception in worker process
Traceback (most recent call last):
  File "app.py", line 1, in <module>
KeyError: 'first'

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "app.py", line 3, in <module>
    raise RuntimeError("no")
RuntimeError: no
[2026-01-02 10:00:00 +0000] [12] [INFO] Worker exiting (pid: 12)
[2026-01-02 10:00:00 +0000] [12] [ERROR] Shutting down: Master
`
	for name, test := range map[string]struct{ text, want string }{
		"an exception": {mixed, "Traceback (most recent call last):\n  File \"app.py\", line 3, in <module>\n    raise RuntimeError(\"no\")\nRuntimeError: no"},
		"with whose it is": {"[x] [1] [ERROR] Exception in worker process\nTraceback (most recent call last):\n  File\nKeyError",
			"[x] [1] [ERROR] Exception in worker process\nTraceback (most recent call last):\n  File\nKeyError"},
		"that is not all there": {"Traceback (most recent call last):\n  File", "Traceback (most recent call last):\n  File"},
		"a complaint":           {"[x] [1] [INFO] one\n[x] [1] [ERROR] two\nthree", "[x] [1] [ERROR] two\nthree"},
		"a setting":             {"\nError: Invalid value for workers: 'x'", "Error: Invalid value for workers: 'x'"},
		"nothing to see":        {"[x] [1] [INFO] one\n127.0.0.1 - - GET / 200", ""},
		"nothing":               {"", ""},
		"not those of requests": {"[x] [1] [ERROR] Worker (pid:2) exited with code 4.\n" + strings.Repeat("127.0.0.1 - - [x] \"GET /?token=s3cret HTTP/1.1\" 200\n", 30),
			"[x] [1] [ERROR] Worker (pid:2) exited with code 4."},
		"few of those in another format": {"[x] [1] [INFO] Booting\nno such module\n[x] [1] [ERROR] no\n" + strings.Repeat("GET /\n", 30),
			"no such module\n[x] [1] [ERROR] no" + strings.Repeat("\nGET /", mostBelow)},
		"not that of a request": {mixed + "[x] [8] [ERROR] Error handling request /?token=s3cret\nTraceback (most recent call last):\n  File\nValueError",
			"Traceback (most recent call last):\n  File \"app.py\", line 3, in <module>\n    raise RuntimeError(\"no\")\nRuntimeError: no"},
		"not what those who serve complain of": {"[x] [7] [ERROR] Error handling request /?token=s3cret\nTraceback (most recent call last):\n  File\nValueError\n[x] [12] [ERROR] App failed to load",
			"[x] [12] [ERROR] App failed to load"},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "log")
			const old = "Traceback (most recent call last):\n  an old one\nKeyError\n"
			if err := os.WriteFile(file, []byte(old+test.text), 0o644); err != nil {
				t.Fatal(err)
			}
			_, lines := lastLines([]logged{{filepath.Join(t.TempDir(), "none"), 0}, {file, int64(len(old))}}, []int{6, 7})
			if diff := cmp.Diff(test.want, strings.Join(lines, "\n")); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestALongExceptionKeepsItsEnds(t *testing.T) {
	var lines []string
	for i := range 50 {
		lines = append(lines, fmt.Sprint(i))
	}
	got := shortened(lines)
	if len(got) != mostShown || got[0] != "0" || got[1] != "1" || got[2] != "  … 31 lines …" || got[3] != "33" || got[mostShown-1] != "49" {
		t.Errorf("%d lines: %q", len(got), got)
	}
	if got := shortened(lines[:mostShown]); len(got) != mostShown {
		t.Errorf("%q", got)
	}
}

func TestALogThatWasBegunAnewIsRead(t *testing.T) {
	file := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(file, []byte("new\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := (logged{file, 1000}).since(); len(got) != 1 || got[0] != "new" {
		t.Errorf("%q", got)
	}
}
