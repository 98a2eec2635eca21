package docker

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stablehand/stablehand/internal/docker"
	"github.com/stablehand/stablehand/internal/load"
)

// patience is how long a test waits for anything. The slowest thing that is
// waited for, a handoff on a busy machine, was seen to take 15 s.
const patience = 2 * time.Minute

// serve is the recipe's CMD, for tests that add to it.
var serve = []string{"--config=/etc/app/gunicorn.conf.py", "--bind=0.0.0.0:8000", "app:app"}

// container is one that runs in the background.
type container struct {
	t      *testing.T
	engine *docker.Engine
	id     string
	config string // directory on this machine that is mounted at /etc/app
	url    string
}

// start runs the recipe's image with options for docker run, and returns when
// it answers. What follows "--" among the options is the container's command.
func start(t *testing.T, options ...string) *container {
	t.Helper()
	c := create(t, options...)
	c.run()
	return c
}

// create makes a container that has not been started.
func create(t *testing.T, options ...string) *container {
	t.Helper()
	e, images := build(t)
	c := &container{t: t, engine: e, config: t.TempDir()}
	c.write("version 1")
	command := []string{"create", "--network=" + e.Network, "--publish=127.0.0.1::8000", "--volume=" + c.config + ":/etc/app:ro"}
	var rest []string
	for i, option := range options {
		if option == "--" {
			options, rest = options[:i], options[i+1:]
			break
		}
	}
	command = append(append(append(command, options...), images.recipe), rest...)
	c.id = do(t, e, command...)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("its log:\n%s", c.log())
		}
		do(t, e, "rm", "--force", "--volumes", c.id)
	})
	return c
}

// run starts the container, and returns when it answers.
func (c *container) run() {
	c.t.Helper()
	c.do("start", c.id)
	c.url = "http://" + strings.TrimSpace(c.do("port", c.id, "8000/tcp")) + "/"
	c.answers("version 1")
}

func (c *container) do(words ...string) string {
	c.t.Helper()
	return do(c.t, c.engine, words...)
}

// exec runs a command in the container and returns what it printed.
func (c *container) exec(words ...string) string {
	c.t.Helper()
	return c.do(append([]string{"exec", c.id}, words...)...)
}

// settings is a gunicorn.conf.py with a greeting, and more lines.
func settings(greeting string, more ...string) string {
	return "raw_env = ['GREETING=" + greeting + "']\nworkers = 2\n" + strings.Join(more, "\n") + "\n"
}

func (c *container) file() string { return filepath.Join(c.config, "gunicorn.conf.py") }

// write writes the configuration in place.
func (c *container) write(greeting string, more ...string) {
	c.t.Helper()
	if err := os.WriteFile(c.file(), []byte(settings(greeting, more...)), 0o644); err != nil {
		c.t.Fatal(err)
	}
}

// ask returns the answer to one request.
func (c *container) ask() (string, error) {
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Get(c.url)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return strings.TrimSpace(string(body)), err
}

// answers waits until an answer is a certain one.
func (c *container) answers(want string) {
	c.t.Helper()
	eventually(c.t, "the answer "+want, func() bool {
		got, err := c.ask()
		return err == nil && got == want
	})
}

// eventually looks until something is so.
func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !so(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", patience, what)
		}
	}
}

// log is all that docker logs has.
func (c *container) log() string {
	out, err := c.engine.Command("logs", c.id).CombinedOutput()
	if err != nil {
		c.t.Errorf("docker logs: %v", err)
	}
	return string(out)
}

// says waits until the log has a line with all of these in it.
func (c *container) says(parts ...string) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	follow := c.engine.Command("logs", "--follow", c.id)
	read, write, err := os.Pipe()
	if err != nil {
		c.t.Fatal(err)
	}
	defer read.Close()
	follow.Stdout, follow.Stderr = write, write
	err = follow.Start()
	write.Close()
	if err != nil {
		c.t.Fatal(err)
	}
	stop := context.AfterFunc(ctx, func() { follow.Process.Kill() })
	defer func() {
		stop()
		follow.Process.Kill()
		follow.Wait()
	}()
	for lines := bufio.NewScanner(read); lines.Scan(); {
		if hasAll(lines.Text(), parts) {
			return
		}
	}
	c.t.Fatalf("the log never said %q", parts)
}

func hasAll(line string, parts []string) bool {
	for _, part := range parts {
		if !strings.Contains(line, part) {
			return false
		}
	}
	return true
}

// handedOff waits until a generation has taken over and the one before it is
// gone.
func (c *container) handedOff(generation string) {
	c.t.Helper()
	c.says(`msg="handed off" generation=` + generation)
}

// handsOff changes the configuration in place and waits until it is in force.
func (c *container) handsOff(greeting, generation string) {
	c.t.Helper()
	c.write(greeting)
	c.answers(greeting)
	c.handedOff(generation)
}

// stops runs docker stop, and checks that nothing had to be killed.
func (c *container) stops() {
	c.t.Helper()
	const grace = "20"
	begun := time.Now()
	c.do("stop", "--time="+grace, c.id)
	if code := c.inspect("{{.State.ExitCode}}"); code != "0" {
		c.t.Errorf("after docker stop the exit code is %s", code)
	}
	c.t.Logf("docker stop took %s", time.Since(begun).Round(10*time.Millisecond))
}

func (c *container) inspect(format string) string {
	c.t.Helper()
	return c.do("inspect", "--format="+format, c.id)
}

// loaded starts clients that ask for as long as the test lasts.
func (c *container) loaded() *load.Run {
	return load.Start(c.t.Context(), load.Options{URL: c.url, Clients: 2})
}

// unharmed stops the clients, and checks that each request was answered.
func (c *container) unharmed(run *load.Run) {
	c.t.Helper()
	saw := run.Stop()
	c.t.Logf("clients saw %s", saw)
	if saw.Failed > 0 || saw.Requests == 0 {
		c.t.Errorf("not every request was answered: %s", saw)
	}
}
