package main_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// suite is a directory of scripts, and what they run with.
type suite struct {
	dir   string
	files []string // those of its scripts to run; all if there are none
	mode  mode
	bin   string            // gunicorn's directory
	vars  map[string]string // of the scripts' environment; see setup
	from  string            // an example that each script runs in a copy of
}

// TestScript runs testdata/script as PID 1, and below another.
func TestScript(t *testing.T) {
	for _, m := range []mode{asInit, notAsInit} {
		t.Run(string(m), func(t *testing.T) {
			t.Parallel()
			run(t, suite{dir: "testdata/script", mode: m, bin: python(t, newest)})
		})
	}
}

// TestScriptWithBind runs the scripts to which it makes no difference who opens the
// sockets with sockets that stablehand opens.
func TestScriptWithBind(t *testing.T) {
	t.Parallel()
	var files []string
	other := scripts(t, gunicornsOwn)
	for _, file := range scripts(t, []string{"*"}) {
		if !slices.Contains(other, file) {
			files = append(files, file)
		}
	}
	run(t, suite{dir: "testdata/script", files: files, mode: asInit, bin: python(t, newest), vars: withBind})
}

var withBind = map[string]string{"STABLEHAND_BIND": "$BIND", "GUNICORN_CMD_ARGS": ""}

// gunicornsOwn are the scripts of testdata/script in which gunicorn opens the sockets.
var gunicornsOwn = []string{
	// USR2, and what comes of it
	"broken-directory*", "broken-interpreter*", "content-back", "init-between*", "killed-retiring",
	"launch-module-http", "reload", "retire-thread", "status", "strays-*", "stop-timeout-soaking",
	// pidfiles
	"pidfile-*", "systemd-watchdog", "writes-watched-names",
	// one command for all generations, or one that is none that is managed
	"launch-beside", "launch-script", "launch-shell", "launch-su", "log-unread-plain",
	// addresses of gunicorn's own, or of others
	"probe-ipv6",
	"control-socket", "daemon", "systemd-sockets", "words-reload",
}

// TestBind runs testdata/bind: what is of sockets that stablehand opens, and of what
// begins afresh with them.
func TestBind(t *testing.T) {
	for _, m := range []mode{asInit, notAsInit} {
		t.Run(string(m), func(t *testing.T) {
			t.Parallel()
			run(t, suite{dir: "testdata/bind", mode: m, bin: python(t, newest), vars: withBind})
		})
	}
}

// privileged are the scripts of testdata/script in which it matters who may look at a
// process, signal it, or write a file, and so who stablehand runs as.
var privileged = []string{
	"broken-config", "changes-during", "control-*", "daemon", "exit-*", "files-*", "healthcheck", "hup", "init-between",
	"killed-*", "launch-background", "launch-shell", "left-behind", "log-unread", "orphans", "pidfile-*", "plain*", "reload",
	"retry", "status", "stop-*", "strays-beside", "strays-below", "systemd-notify", "workers", "writes-watched",
}

// TestScriptWithoutPrivileges runs those as PID 1 that is not root.
func TestScriptWithoutPrivileges(t *testing.T) {
	t.Parallel()
	run(t, suite{dir: "testdata/script", files: scripts(t, privileged), mode: asUser, bin: python(t, newest)})
}

// scripts are those of testdata/script that patterns name.
func scripts(t *testing.T, patterns []string) (files []string) {
	t.Helper()
	for _, pattern := range patterns {
		found, err := filepath.Glob("testdata/script/" + pattern + ".txt")
		if err != nil || len(found) == 0 {
			t.Fatalf("testdata/script has no %s: %v", pattern, err)
		}
		files = append(files, found...)
	}
	return files
}

// TestExamples runs the scripts of each folder of examples, in a copy of it,
// with what its requirements.txt names.
func TestExamples(t *testing.T) {
	scripts, err := filepath.Glob("../../examples/*/testdata/*.txt")
	if err != nil || len(scripts) == 0 {
		t.Fatal("no example has scripts", err)
	}
	for i, script := range scripts {
		scripts[i] = filepath.Dir(script)
	}
	for _, dir := range slices.Compact(scripts) {
		example := filepath.Dir(dir)
		name := filepath.Base(example)
		env := newest
		if _, err := os.Stat(filepath.Join(example, "requirements.txt")); err == nil {
			env = "example-" + name
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run(t, suite{dir: dir, mode: asInit, bin: python(t, env), from: example})
		})
	}
}

// TestStop runs testdata/stop, a stop in each step of a container's life, with
// each signal that stops, of the oldest gunicorn and the newest, whoever opens its sockets.
func TestStop(t *testing.T) {
	runStops(t, "testdata/stop", []string{oldest, newest}, []string{"TERM", "INT", "QUIT"})
}

// runStops runs scripts with each of these gunicorns and of the signals that they send.
func runStops(t *testing.T, dir string, envs, signals []string) {
	for _, env := range envs {
		for _, m := range []mode{asInit, notAsInit} {
			for _, signal := range signals {
				for name, vars := range map[string]map[string]string{"": nil, "/bind": withBind} {
					t.Run(env+"/"+string(m)+"/"+signal+name, func(t *testing.T) {
						t.Parallel()
						with := map[string]string{"SIGNAL": signal}
						maps.Copy(with, vars)
						run(t, suite{dir: dir, mode: m, bin: python(t, env), vars: with})
					})
				}
			}
		}
	}
}

// TestLog runs testdata/log: the whole of what stablehand itself logs, word by
// word. With E2E_UPDATE=1 it is written down as it is.
func TestLog(t *testing.T) {
	t.Parallel()
	needStatus(t)
	run(t, suite{dir: "testdata/log", mode: asInit, bin: python(t, newest)})
}

// TestHandoff runs testdata/handoff on every gunicorn, worker class and way of
// serving that a handoff is promised for.
func TestHandoff(t *testing.T) {
	for _, w := range handoffs {
		t.Run(w.name(), func(t *testing.T) { runWay(t, "testdata/handoff", w) })
	}
}

// TestKeepAlive runs testdata/keepalive on the worker classes that keep
// connections. sync, the default, closes each after its answer.
func TestKeepAlive(t *testing.T) {
	for _, w := range handoffs {
		if w.class != "" {
			t.Run(w.name(), func(t *testing.T) { runWay(t, "testdata/keepalive", w) })
		}
	}
}

// TestBlind runs testdata/blind, where stablehand may not look at gunicorn.
func TestBlind(t *testing.T) {
	t.Parallel()
	bin := python(t, newest)
	needOtherUser(t, bin)
	run(t, suite{dir: "testdata/blind", mode: asInit, bin: bin})
}

// TestUsers runs testdata/users, where more than one user asks.
func TestUsers(t *testing.T) {
	t.Parallel()
	bin := python(t, newest)
	needOtherUser(t, bin)
	run(t, suite{dir: "testdata/users", mode: asInit, bin: bin})
}

func runWay(t *testing.T, dir string, w way) {
	t.Parallel()
	bin := python(t, w.env)
	if w.module != "" {
		needModule(t, bin, w.module)
	}
	if w.otherUser {
		needOtherUser(t, bin)
	}
	run(t, suite{dir: dir, mode: asInit, bin: bin, vars: w.variables()})
}

// run runs the scripts of a suite.
func run(t *testing.T, s suite) {
	t.Helper()
	needNamespace(t, s.mode)
	stablehand, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	testdata, err := filepath.Abs(s.dir) // for what several scripts share
	if err != nil {
		t.Fatal(err)
	}
	work, err := os.MkdirTemp(tempDir, "work-")
	if err == nil {
		err = os.Chmod(work, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(work) })
	dir := s.dir
	if s.files != nil {
		dir = "" // else it counts, and they do not
	}
	testscript.Run(t, testscript.Params{
		Dir:                 dir,
		Files:               s.files,
		Cmds:                commands,
		Condition:           condition,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		WorkdirRoot:         work,
		UpdateScripts:       os.Getenv(envUpdate) != "",
		Setup: func(env *testscript.Env) error {
			env.Setenv("TESTDATA", testdata)
			path := strings.Join([]string{filepath.Dir(stablehand), s.bin, env.Getenv("PATH")}, ":")
			env.Setenv("PATH", path)
			env.Setenv("PYTHONS", filepath.Dir(filepath.Dir(s.bin)))
			return s.setup(env)
		},
	})
}

// setup gives a script an application, an address to serve it at, and an end.
func (s suite) setup(env *testscript.Env) error {
	port, err := freePort()
	if err != nil {
		return err
	}
	address := fmt.Sprintf("127.0.0.1:%d", port)
	env.Setenv("HOME", env.WorkDir)
	port, err = freePort()
	if err != nil {
		return err
	}
	env.Setenv("HTTP", fmt.Sprintf("127.0.0.1:%d", port)) // for stablehand's own use
	run, err := runDir(env)
	if err != nil {
		return err
	}
	env.Setenv("XDG_RUNTIME_DIR", run)
	env.Setenv("STABLEHAND_CONTROL", filepath.Join(run, "control")) // whatever else runs on this machine
	env.Setenv("GORACE", exitOnRace)
	// Python takes a cached module for current when the file has the same size
	// and was written in the same second, as scripts do.
	env.Setenv("PYTHONDONTWRITEBYTECODE", "1")
	env.Setenv("ADDRESS", address)
	env.Setenv("URL", "http://"+address+"/")
	env.Setenv("GUNICORN_CMD_ARGS", "--bind="+address)
	for name, value := range maps.All(s.vars) {
		value = strings.ReplaceAll(value, "$WORK", env.WorkDir)
		env.Setenv(name, strings.ReplaceAll(value, "$BIND", address))
	}
	if s.from != "" {
		if err := copyExample(env.WorkDir, s.from); err != nil {
			return err
		}
	}
	if err := provideApp(filepath.Join(env.WorkDir, "app.py")); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	programs := map[string]*program{}
	env.Values[keyMode{}] = s.mode
	env.Values[keyPrograms{}] = programs
	env.Values[keyLoad{}] = &loads{ctx: ctx}
	env.Values[keyNotify{}] = new(notified)
	memory := new(*memoryCgroup)
	env.Values[keyMemory{}] = memory
	env.Values[keyLimits{}] = map[string]func() error{}
	env.Defer(func() {
		cancel()
		if err := errors.Join(endAll(programs), (*memory).remove()); err != nil {
			env.T().Fatal(err)
		}
	})
	return nil
}

// runDir makes the directory for a script's sockets, whose paths may not be long.
func runDir(env *testscript.Env) (string, error) {
	dir, err := os.MkdirTemp(tempDir, "run")
	if err != nil {
		return "", err
	}
	env.Defer(func() { os.RemoveAll(dir) })
	return dir, os.Chmod(dir, 0o755)
}

// copyExample copies what somebody who follows an example would copy. What the
// script brings itself stays as it is.
func copyExample(dir, example string) error {
	if out, err := exec.Command("cp", "-R", "-n", example+"/.", dir).CombinedOutput(); err != nil {
		return fmt.Errorf("copying %s: %w: %s", example, err, out)
	}
	return os.RemoveAll(filepath.Join(dir, "testdata"))
}

// provideApp puts the application in its place, unless the script has its own.
func provideApp(path string) error { return provide(path, "testdata/app.py") }

// provide puts a file in its place, unless one is there.
func provide(path, from string) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o644)
}

// claims keeps what freePort has bound.
var claims sync.Map

// freePort returns a port that nobody listens on and no other script was given, of tests
// that run beside these neither: the name of a socket is taken for it, until we end. It is
// below the range from which the kernel takes the ports of outgoing connections, which a
// load would use up.
func freePort() (int, error) {
	for range 1000 {
		port := 20000 + rand.IntN(10000)
		claim, err := net.Listen("unix", fmt.Sprintf("@stablehand-test-port-%d", port))
		if err != nil {
			continue
		}
		claims.Store(port, claim)
		listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			return port, listener.Close()
		}
	}
	return 0, fmt.Errorf("no port is free")
}
