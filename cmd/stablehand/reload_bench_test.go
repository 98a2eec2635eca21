package main_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/stablehand/stablehand/internal/load"
)

// reloaded is a gunicorn that a benchmark reloads, in a namespace of its own.
type reloaded struct {
	program
	dir     string
	load    load.Options
	clients *load.Run
	version int
}

// startReloaded starts words with more variables, in which $BIND stands for where the
// clients ask.
func startReloaded(b *testing.B, bin, loadSeconds string, words []string, vars ...string) *reloaded {
	needNamespace(b, asInit)
	stablehand, err := binary()
	if err != nil {
		b.Fatal(err)
	}
	port, err := freePort()
	if err != nil {
		b.Fatal(err)
	}
	r := &reloaded{program: program{name: "gunicorn", mode: asInit}, dir: b.TempDir()}
	r.log = filepath.Join(r.dir, "log")
	if err := os.CopyFS(r.dir, os.DirFS("testdata/bench")); err != nil {
		b.Fatal(err)
	}
	if err := provideApp(filepath.Join(r.dir, "app.py")); err != nil {
		b.Fatal(err)
	}
	if err := provide(filepath.Join(r.dir, "dirtied.py"), "../../internal/bench/site/dirtied.py"); err != nil {
		b.Fatal(err)
	}
	r.write(b)
	logFile, err := os.Create(r.log)
	if err != nil {
		b.Fatal(err)
	}
	defer logFile.Close()
	env := append(os.Environ(), "LOAD_SECONDS="+loadSeconds, "STABLEHAND_WATCH=version.0,version.1",
		"STABLEHAND_CONTROL="+filepath.Join(r.dir, "control"),
		fmt.Sprintf("GUNICORN_CMD_ARGS=--bind=127.0.0.1:%d", port),
		fmt.Sprintf("PATH=%s:%s:%s", filepath.Dir(stablehand), bin, os.Getenv("PATH")))
	for _, v := range vars {
		env = append(env, strings.ReplaceAll(v, "$BIND", fmt.Sprintf("127.0.0.1:%d", port)))
	}
	// A shell stays PID 1 where nobody else does.
	words = append([]string{"sh", "-c", `"$@" & while :; do wait; sleep 1; done`, "sh"}, words...)
	r.outside = r.command(r.dir, env, words, logFile)
	if err := r.outside.Start(); err != nil {
		b.Fatal(err)
	}
	r.gone = make(chan struct{})
	go func() {
		r.outside.Wait()
		close(r.gone)
	}()
	b.Cleanup(func() {
		if err := r.end(); err != nil {
			b.Error(err)
		}
	})
	r.findFirst()
	r.load = load.Options{URL: fmt.Sprintf("http://127.0.0.1:%d/", port)}
	r.clients = load.Start(b.Context(), r.load)
	r.answered(b)
	r.clients.Stop() // what it met while gunicorn started
	return r
}

// write writes the next version, into two files in turns: one that is written with each
// generation, as soon as that is there, is handed over ever more seldom.
func (r *reloaded) write(b *testing.B) {
	file := filepath.Join(r.dir, fmt.Sprintf("version.%d", r.version%2))
	if err := os.WriteFile(file, []byte(strconv.Itoa(r.version)), 0o644); err != nil {
		b.Fatal(err)
	}
}

// answered waits until the new version is seen.
func (r *reloaded) answered(b *testing.B) {
	ctx, cancel := context.WithTimeout(b.Context(), patience)
	defer cancel()
	if err := r.clients.WaitFor(ctx, fmt.Sprint("v", r.version)); err != nil {
		b.Fatal(err, r.logged())
	}
}

func (r *reloaded) signal(b *testing.B, pid int, sig unix.Signal) {
	if err := unix.Kill(pid, sig); err != nil {
		b.Fatal(err)
	}
}
