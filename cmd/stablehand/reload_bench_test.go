package main_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stablehand/stablehand/internal/load"
)

// BenchmarkReload reloads a gunicorn under the load of 8 closed-loop clients:
// by HUP, by USR2 and TERM as one does it by hand, and under stablehand. One
// iteration is one reload.
//
//	make bench        the table in the README, and what uvicorn loses
//
// It reports what a reload costs the clients: failed/op requests of
// requests/op, and the worst silence in ms, the longest time in which nobody
// was answered.
func BenchmarkReload(b *testing.B) {
	for _, app := range []struct {
		name, env, load string
		words           []string
	}{
		{"slow-to-load", newest, "5", []string{"--workers=4", "app:wsgi"}},
		{"uvicorn", "workers", "0", []string{"--workers=3", "--worker-class=uvicorn_worker.UvicornWorker", "app:asgi"}},
	} {
		for _, how := range []struct {
			name   string
			reload func(*reloaded, *testing.B)
			words  []string
		}{
			{"HUP", (*reloaded).byHUP, []string{"gunicorn"}},
			{"by-hand", (*reloaded).byHand, []string{"gunicorn"}},
			{"stablehand", (*reloaded).byStablehand, []string{"stablehand"}},
		} {
			b.Run(app.name+"/"+how.name, func(b *testing.B) {
				r := startReloaded(b, python(b, app.env), app.load, append(how.words, app.words...))
				r.bench(b, how.reload)
			})
		}
	}
}

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

func (r *reloaded) bench(b *testing.B, reload func(*reloaded, *testing.B)) {
	r.clients = load.Start(b.Context(), r.load)
	for b.Loop() {
		r.version++
		r.write(b)
		reload(r, b)
	}
	result := r.clients.Stop()
	b.ReportMetric(float64(result.Failed)/float64(b.N), "failed/op")
	b.ReportMetric(float64(result.Requests)/float64(b.N), "requests/op")
	b.ReportMetric(float64(result.Silence.Milliseconds()), "silence-ms")
	b.Log(result)
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

// byHUP has gunicorn replace its workers.
func (r *reloaded) byHUP(b *testing.B) {
	old := tree(r.master(b))[1:]
	r.signal(b, r.master(b), unix.SIGHUP)
	for _, worker := range old {
		r.waitGone(b, worker.pid)
	}
	r.answered(b)
}

// byHand does what the gunicorn documentation says, with a look at whether
// the new version is there, and a second more for the last worker.
func (r *reloaded) byHand(b *testing.B) {
	const promotion = 2 * time.Second // it takes no USR2 before
	old := r.master(b)
	r.signal(b, old, unix.SIGUSR2)
	r.answered(b)
	time.Sleep(time.Second)
	r.signal(b, old, unix.SIGTERM)
	r.waitGone(b, old)
	time.Sleep(promotion)
}

// byStablehand waits for what stablehand does because the file has changed.
func (r *reloaded) byStablehand(b *testing.B) {
	if _, err := r.await(regexp.MustCompile(`msg="handed off"`)); err != nil {
		b.Fatal(err, r.logged())
	}
	r.answered(b)
}

// master is the topmost gunicorn.
func (r *reloaded) master(b *testing.B) int {
	for _, p := range tree(r.first) {
		if p.gunicorn() {
			return p.pid
		}
	}
	b.Fatal("no gunicorn runs", r.logged())
	return 0
}

func (r *reloaded) signal(b *testing.B, pid int, sig unix.Signal) {
	if err := unix.Kill(pid, sig); err != nil {
		b.Fatal(err)
	}
}

// waitGone waits until a process has ended.
func (r *reloaded) waitGone(b *testing.B, pid int) {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(look) {
		if over(pid) {
			return
		}
	}
	b.Fatalf("process %d did not end: %s", pid, r.logged())
}
