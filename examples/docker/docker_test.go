package docker

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stablehand/stablehand/internal/docker"
)

func TestItIsPID1(t *testing.T) {
	c := start(t)
	if name := c.Exec("cat", "/proc/1/comm"); name != "stablehand" {
		t.Errorf("PID 1 is %s", name)
	}
	c.handsOff("version 2", "2")
	c.stops()
}

func TestItIsRightBelowAnInit(t *testing.T) {
	c := start(t, "--init")
	if name := c.Exec("cat", "/proc/1/comm"); name == "stablehand" {
		t.Error("--init made no other program PID 1")
	}
	c.handsOff("version 2", "2")
	c.handsOff("version 3", "3")
	if orphans := c.Exec("sh", "-c", `grep -l "^PPid:.1$" /proc/[0-9]*/status | wc -l`); orphans != "1" {
		t.Errorf("%s processes are children of PID 1, want stablehand alone", orphans)
	}
	c.stops()
}

// leaveOrphans leaves 20 children without a parent that end at once, but only
// when they are no longer their parent's.
const leaveOrphans = `import os
for _ in range(20):
    read, write = os.pipe()
    if os.fork() == 0:
        os.close(write)
        os.read(read, 1)
        os._exit(0)
os._exit(0)
`

// zombies counts the container's.
const zombies = `grep -l "^State:.Z" /proc/[0-9]*/status 2>/dev/null | wc -l`

func TestZombiesOfDockerExecAreReaped(t *testing.T) {
	t.Run("by stablehand", func(t *testing.T) {
		c := start(t)
		c.Exec("python3", "-c", leaveOrphans)
		docker.Eventually(t, "no zombies", func() bool { return c.Exec("sh", "-c", zombies) == "0" })
		c.stops()
	})
	t.Run("not by a PID 1 that is no init", func(t *testing.T) {
		c := create(t, "--entrypoint=sleep", "--", "3600")
		c.Start()
		c.Exec("python3", "-c", leaveOrphans)
		docker.Eventually(t, "20 zombies", func() bool { return c.Exec("sh", "-c", zombies) == "20" })
	})
}

func TestItNeedsNoPrivileges(t *testing.T) {
	c := start(t, "--cap-drop=ALL", "--security-opt=no-new-privileges")
	if user := c.Exec("id", "-u"); user != "65534" {
		t.Errorf("it runs as user %s", user)
	}
	c.handsOff("version 2", "2")
	c.stops()
}

func TestTheRootFileSystemMayBeReadOnly(t *testing.T) {
	c := start(t, "--read-only", "--tmpfs=/tmp")
	c.handsOff("version 2", "2")
	c.Exec("stablehand", "healthcheck")
	c.stops()
}

// With BIND, which the recipe sets: the engine's default seccomp profile, no capability,
// no root, nothing that may be written but /tmp.
func TestEveryGunicornHandsOverWithoutPrivileges(t *testing.T) {
	for _, version := range []string{"20.1.0", "23.0.0", "26.1.0"} {
		t.Run(version, func(t *testing.T) {
			packages, _ := filepath.Glob(filepath.Join(top, ".cache/py/gunicorn-"+version+"/lib/python3*/site-packages"))
			if len(packages) != 1 {
				t.Skipf("make envs makes gunicorn %s", version)
			}
			c := start(t, append([]string{"--cap-drop=ALL", "--security-opt=no-new-privileges", "--user=1000", "--read-only", "--tmpfs=/tmp",
				"--volume=" + absolute(t, packages[0]) + ":/gunicorn:ro", "--env=PYTHONPATH=/gunicorn", "--", "python3", "-m", "gunicorn"}, serve...)...)
			c.Says("Starting gunicorn " + version)
			if user := c.Exec("id", "-u"); user != "1000" {
				t.Errorf("it runs as user %s", user)
			}
			run := c.loaded()
			for generation := 2; generation <= 6; generation++ {
				c.handsOff(fmt.Sprint("version ", generation), strconv.Itoa(generation))
			}
			docker.Unharmed(t, run)
			c.stops()
		})
	}
}

func absolute(t *testing.T, path string) string {
	t.Helper()
	path, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func TestStopLetsRequestsEnd(t *testing.T) {
	c := create(t)
	c.write("version 1", "import time",
		"def pre_request(worker, request):",
		"    if request.path == '/slow':",
		"        worker.log.info('slow')",
		"        time.sleep(3)")
	c.run()
	type answer struct {
		text string
		err  error
	}
	answered := make(chan answer, 1)
	go func() {
		text, err := c.Ask(c.url + "slow")
		answered <- answer{text, err}
	}()
	c.Says("slow")
	c.stops()
	if a := <-answered; a.err != nil || a.text != "version 1" {
		t.Errorf("the request under way got %q, %v", a.text, a.err)
	}
}

func TestKillHUPHandsOver(t *testing.T) {
	c := start(t)
	run := c.loaded()
	c.Do("kill", "--signal=HUP", c.ID)
	c.handedOff("2")
	docker.Unharmed(t, run)
	c.stops()
}

// edits are ways of changing a file of a mounted directory on the host.
var edits = map[string]func(t *testing.T, file, text string){
	"in place": func(t *testing.T, file, text string) {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	},
	"by rename": func(t *testing.T, file, text string) {
		if err := os.WriteFile(file+".new", []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
	},
	"by vim": func(t *testing.T, file, text string) {
		if _, err := exec.LookPath("vim"); err != nil {
			t.Skip("vim is missing (Debian: apt-get install vim)")
		}
		input := filepath.Join(t.TempDir(), "input")
		if err := os.WriteFile(input, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		vim := exec.Command("vim", "-u", "NONE", "-es", "-c", "%d", "-c", "0read "+input, "-c", "$d", "-c", "wq", file)
		if out, err := vim.CombinedOutput(); err != nil {
			t.Fatalf("vim: %v\n%s", err, out)
		}
	},
}

func TestAMountedDirectoryIsEditedOnTheHost(t *testing.T) {
	for how, edit := range edits {
		t.Run(how, func(t *testing.T) {
			c := start(t)
			run := c.loaded()
			for i := 2; i <= 3; i++ {
				greeting := "version " + strconv.Itoa(i)
				edit(t, c.file(), settings(greeting))
				c.answers(greeting)
				c.handedOff(strconv.Itoa(i))
			}
			docker.Unharmed(t, run)
			c.stops()
		})
	}
}

func TestAFileThatIsMountedByItselfIsWarnedOf(t *testing.T) {
	file := filepath.Join(t.TempDir(), "gunicorn.conf.py")
	if err := os.WriteFile(file, []byte(settings("version 1")), 0o644); err != nil {
		t.Fatal(err)
	}
	c := start(t, "--volume="+file+":/mounted.py:ro", "--env=STABLEHAND_WATCH=/mounted.py", "--", "--config=/mounted.py", "app:app")
	c.Says("level=WARN", "mount its directory instead", "path=/mounted.py")
	edits["in place"](t, file, settings("version 2"))
	c.answers("version 2")
	c.handedOff("2")
	c.stops()
}

func TestAMemoryLimitEndsTheSuccessorAlone(t *testing.T) {
	c := start(t, "--memory=192m", "--memory-swap=192m", "--env=STABLEHAND_READY_TIMEOUT=15s")
	run := c.loaded()
	c.handsOff("version 2", "2") // two generations have room
	c.write("version 3", "def post_fork(arbiter, worker):", "    worker.hoard = b'x' * (512 << 20)")
	c.Says(`msg="rolled back" generation=3`)
	c.write("version 4")
	c.answers("version 4")
	c.handedOff("4")
	if saw := run.SoFar().Version("version 3"); saw.Count > 0 {
		t.Errorf("the generation without memory has answered %d times", saw.Count)
	}
	docker.Unharmed(t, run)
	c.stops()
}

func TestHealth(t *testing.T) {
	status := func(c *container) string { return c.Inspect("{{.State.Health.Status}}") }
	t.Run("healthy when it serves, also after a broken change", func(t *testing.T) {
		c := start(t, "--health-interval=1s")
		docker.Eventually(t, "healthy", func() bool { return status(c) == "healthy" })
		c.write("broken", "workers = = 3")
		c.Says(`msg="rolled back"`)
		c.Exec("stablehand", "healthcheck")
		if got := status(c); got != "healthy" {
			t.Errorf("after a broken change it is %s", got)
		}
		c.stops()
	})
	t.Run("unhealthy when it does not", func(t *testing.T) {
		c := create(t, "--health-interval=1s", "--health-retries=1", "--health-start-period=1ms")
		c.write("version 1", "def post_fork(arbiter, worker):", "    import time; time.sleep(3600)")
		c.Start()
		docker.Eventually(t, "unhealthy", func() bool { return status(c) == "unhealthy" })
	})
}

func TestLogsAreCompleteAndInOrder(t *testing.T) {
	t.Run("of a command", func(t *testing.T) {
		const lines = 20_000
		c := create(t, "--", "seq", strconv.Itoa(lines))
		c.Start()
		c.Do("wait", c.ID)
		out, err := docker.Shared(t).Command("logs", c.ID).Output()
		if err != nil {
			t.Fatal(err)
		}
		inOrder(t, strings.Fields(string(out)), lines)
	})
	t.Run("of gunicorn, over a handoff", func(t *testing.T) {
		const before, after = 200, 200
		c := start(t, append([]string{"--"}, append(serve, "--access-logfile=-", "--access-logformat=asked %(U)s")...)...)
		c.Says("msg=serving")
		requests := 0
		ask := func() string {
			requests++
			return c.askInFull(requests)
		}
		for range before {
			ask()
		}
		c.write("version 2")
		for !strings.Contains(ask(), "version 2") {
		}
		for range after {
			ask()
		}
		c.handedOff("2")
		c.stops()
		var numbers []string
		for line := range strings.Lines(c.Log()) {
			if number, is := strings.CutPrefix(strings.TrimSpace(line), "asked /n/"); is {
				numbers = append(numbers, number)
			}
		}
		inOrder(t, numbers, requests)
		stepsInOrder(t, c.Log(), "msg=starting", "msg=serving", `msg="content changed"`, "msg=handoff", "msg=spawned", `msg="handed off"`, "msg=stopping", "msg=stopped")
	})
}

// askInFull sends a request, and reads until the server closes the connection.
// gunicorn has written its line in the access log by then.
func (c *container) askInFull(number int) string {
	c.t.Helper()
	conn, err := c.Dial(c.t.Context(), "tcp", strings.Trim(strings.TrimPrefix(c.url, "http:"), "/"))
	if err != nil {
		c.t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET /n/%d HTTP/1.0\r\n\r\n", number)
	answer, err := io.ReadAll(conn)
	if err != nil || len(answer) == 0 {
		c.t.Fatalf("request %d: %q, %v", number, answer, err)
	}
	return string(answer)
}

func inOrder(t *testing.T, numbers []string, last int) {
	t.Helper()
	if len(numbers) != last {
		t.Fatalf("%d lines, want %d", len(numbers), last)
	}
	for i, number := range numbers {
		if number != strconv.Itoa(i+1) {
			t.Fatalf("line %d is %s", i+1, number)
		}
	}
}

func stepsInOrder(t *testing.T, log string, steps ...string) {
	t.Helper()
	rest := log
	for _, step := range steps {
		_, after, found := strings.Cut(rest, step)
		if !found {
			t.Errorf("the log does not say %s in its place", step)
			return
		}
		rest = after
	}
}

func TestAnEntrypointScriptMigratesOnce(t *testing.T) {
	gunicorn := "python3 migrate.py && gunicorn " + strings.Join(serve, " ")
	for how, test := range map[string]struct {
		words []string
		times int
	}{
		"the recipe's, which remembers":     {append([]string{"--", "./entrypoint.sh"}, serve...), 1},
		"one that does not, by USR2":        {[]string{"--env=STABLEHAND_BIND=", "--", "sh", "-c", gunicorn + " --bind=0.0.0.0:8000"}, 1},
		"one that does not migrates afresh": {[]string{"--", "sh", "-c", gunicorn}, 3},
	} {
		t.Run(how, func(t *testing.T) {
			c := start(t, test.words...)
			run := c.loaded()
			c.handsOff("version 2", "2")
			c.handsOff("version 3", "3")
			docker.Unharmed(t, run)
			if n := strings.Count(c.Log(), "migrated\n"); n != test.times {
				t.Errorf("it has migrated %d times, want %d", n, test.times)
			}
			c.stops()
		})
	}
	t.Run("stopped while it migrates", func(t *testing.T) {
		c := create(t, "--", "sh", "-c", "echo migrating; sleep 3600; "+gunicorn)
		c.Start()
		c.Says("migrating")
		begun := time.Now()
		c.Do("stop", "--time=60", c.ID)
		if code := c.Inspect("{{.State.ExitCode}}"); code != "143" || time.Since(begun) > 30*time.Second {
			t.Errorf("exit code %s after %s", code, time.Since(begun))
		}
	})
}
