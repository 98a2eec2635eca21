package docker

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stablehand/stablehand/internal/load"
)

// Patience is how long a test waits for anything. The slowest thing that is
// waited for, a handoff on a busy machine, was seen to take 15 s.
const Patience = 2 * time.Minute

// Container is one that a test has made. Whatever fails fails that test.
type Container struct {
	ID     string
	t      testing.TB
	engine *Engine
}

// Create makes a container that has not been started, with the words of docker
// create. It is removed when the test ends, which shows its log if it failed.
func (e *Engine) Create(t testing.TB, words ...string) *Container {
	t.Helper()
	id := MustDo(t, e, append([]string{"create"}, words...)...)
	t.Cleanup(func() { MustDo(t, e, "rm", "--force", "--volumes", id) })
	return e.Container(t, id)
}

// Container is one that somebody else has made, and removes. The test shows its
// log if it fails.
func (e *Engine) Container(t testing.TB, id string) *Container {
	c := &Container{ID: id, t: t, engine: e}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("its log:\n%s", c.Log())
		}
	})
	return c
}

// MustDo runs a docker command that is to succeed, and returns what it printed.
func MustDo(t testing.TB, e *Engine, words ...string) string {
	t.Helper()
	out, err := e.Do(words...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Do runs a docker command that is to succeed, and returns what it printed.
func (c *Container) Do(words ...string) string {
	c.t.Helper()
	return MustDo(c.t, c.engine, words...)
}

// Start starts it.
func (c *Container) Start() {
	c.t.Helper()
	c.Do("start", c.ID)
}

// URL is where a port of its is published, for who has [Container.Dial].
func (c *Container) URL(port string) string {
	c.t.Helper()
	return "http://" + strings.TrimSpace(c.Do("port", c.ID, port)) + "/"
}

// Exec runs a command in the container and returns what it printed.
func (c *Container) Exec(words ...string) string {
	c.t.Helper()
	return c.Do(append([]string{"exec", c.ID}, words...)...)
}

// Inspect returns what docker inspect has at a place, such as
// {{.State.ExitCode}}.
func (c *Container) Inspect(format string) string {
	c.t.Helper()
	return c.Do("inspect", "--format="+format, c.ID)
}

// Log is all that docker logs has.
func (c *Container) Log() string {
	out, err := c.engine.Command("logs", c.ID).CombinedOutput()
	if err != nil {
		c.t.Errorf("docker logs: %v", err)
	}
	return string(out)
}

// Says waits until the log has a line with all of these in it.
func (c *Container) Says(parts ...string) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), Patience)
	defer cancel()
	follow := c.engine.Command("logs", "--follow", c.ID)
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
		_ = follow.Wait() // it was killed
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

// Eventually looks until something is so.
func Eventually(t testing.TB, what string, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(Patience); !so(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", Patience, what)
		}
	}
}

// Dial connects to where a port of its is published.
func (c *Container) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	return c.engine.Dial(ctx, network, address)
}

// Answers waits until the answer at url is a certain one.
func (c *Container) Answers(url, want string) {
	c.t.Helper()
	Eventually(c.t, "the answer "+want, func() bool {
		got, err := c.Ask(url)
		return err == nil && got == want
	})
}

// Ask returns the answer to one request, on a connection of its own.
func (c *Container) Ask(url string) (string, error) {
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DialContext: c.Dial, DisableKeepAlives: true}}
	response, err := client.Get(url)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("answered %s", response.Status)
	}
	return strings.TrimSpace(string(body)), err
}

// Load starts clients that ask for as long as the test lasts.
func (c *Container) Load(url string, clients int) *load.Run {
	return load.Start(c.t.Context(), load.Options{URL: url, Clients: clients, Dial: c.Dial})
}

// Unharmed stops the clients, and checks that each request was answered.
func Unharmed(t testing.TB, run *load.Run) {
	t.Helper()
	saw := run.Stop()
	t.Logf("clients saw %s", saw)
	if saw.Failed > 0 || saw.Requests == 0 {
		t.Errorf("not every request was answered: %s", saw)
	}
}
