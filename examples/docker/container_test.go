package docker

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stablehand/stablehand/internal/docker"
	"github.com/stablehand/stablehand/internal/load"
)

// serve is the recipe's CMD, for tests that add to it.
var serve = []string{"--config=/etc/app/gunicorn.conf.py", "app:app"}

// container is one that runs in the background.
type container struct {
	*docker.Container
	t      *testing.T
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
	e, images := docker.Built(t)
	c := &container{t: t, config: t.TempDir()}
	c.write("version 1")
	command := []string{"--network=" + e.Network, "--publish=127.0.0.1::8000", "--volume=" + c.config + ":/etc/app:ro"}
	var rest []string
	for i, option := range options {
		if option == "--" {
			options, rest = options[:i], options[i+1:]
			break
		}
	}
	command = append(append(append(command, options...), images.Recipe), rest...)
	c.Container = e.Create(t, command...)
	return c
}

// run starts the container, and returns when it answers.
func (c *container) run() {
	c.t.Helper()
	c.Start()
	c.url = c.URL("8000/tcp")
	c.answers("version 1")
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

// answers waits until an answer is a certain one.
func (c *container) answers(want string) {
	c.t.Helper()
	c.Answers(c.url, want)
}

// handedOff waits until a generation has taken over.
func (c *container) handedOff(generation string) {
	c.t.Helper()
	c.Says(`msg="handed off" generation=` + generation)
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
	c.Do("stop", "--time="+grace, c.ID)
	if code := c.Inspect("{{.State.ExitCode}}"); code != "0" {
		c.t.Errorf("after docker stop the exit code is %s", code)
	}
	c.t.Logf("docker stop took %s", time.Since(begun).Round(10*time.Millisecond))
}

// loaded starts clients that ask for as long as the test lasts.
func (c *container) loaded() *load.Run {
	return c.Load(c.url, 2)
}
