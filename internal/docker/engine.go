package docker

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// prefix is what the names of all images begin with that are made here.
const prefix = "stablehand-test/"

// Engine is a Docker engine on this machine. Its methods may be called from
// any goroutine, but for Close.
type Engine struct {
	// Network is a network for the tests' containers.
	Network string

	host string  // DOCKER_HOST, where that is not what the environment says
	own  *daemon // nil where DOCKER_HOST names the engine
	tag  string  // of all images that are built, where others may build theirs meanwhile

	mu    sync.Mutex
	built []string
}

// Open takes the engine of DOCKER_HOST, or starts one that keeps its images in a
// directory. The error says in one line why there is none.
func Open(cache string) (*Engine, error) {
	if _, err := exec.LookPath("docker"); err != nil {
		return nil, errors.New("no Docker: the command docker is missing (Debian: apt-get install docker.io)")
	}
	id := strings.ToLower(rand.Text()[:8])
	e := &Engine{Network: prefix[:len(prefix)-1] + "-" + id, tag: id}
	if err := e.find(cache); err != nil {
		return nil, fmt.Errorf("no Docker: %w", err)
	}
	if _, err := e.Do("network", "create", e.Network); err != nil {
		return nil, errors.Join(err, e.Close())
	}
	return e, nil
}

func (e *Engine) find(cache string) error {
	host := os.Getenv("DOCKER_HOST")
	if host != "" && !strings.HasPrefix(host, "unix://") {
		return fmt.Errorf("the tests mount directories of this machine, and DOCKER_HOST is %s", host)
	}
	if host != "" {
		if !e.answers() {
			return fmt.Errorf("no engine answers at %s", host)
		}
		return nil
	}
	var err error
	e.own, err = startDaemon(cache)
	if err != nil {
		return err
	}
	// Nobody else uses it, and images that keep their names are a cache.
	e.host, e.tag = "unix://"+e.own.socket(), "latest"
	// What an earlier run that was killed has left.
	left, err := e.Do("ps", "--all", "--quiet")
	if ids := strings.Fields(left); err == nil && len(ids) > 0 {
		_, err = e.Do(append([]string{"rm", "--force"}, ids...)...)
	}
	if err == nil {
		_, err = e.Do("network", "prune", "--force")
	}
	if err != nil {
		return errors.Join(err, e.own.stop())
	}
	return nil
}

func (e *Engine) answers() bool {
	_, err := e.Do("version")
	return err == nil
}

// Dial connects to an address that a container is published at, as a client on the
// engine's machine would.
func (e *Engine) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	if e.own != nil {
		return e.own.network.dial(ctx, network, address)
	}
	return new(net.Dialer).DialContext(ctx, network, address)
}

// Close removes what was made in an engine that ran already, but for base
// images, and ends one that did not.
func (e *Engine) Close() error {
	var errs []error
	try := func(words ...string) {
		_, err := e.Do(words...)
		errs = append(errs, err)
	}
	try("network", "rm", e.Network)
	if e.own == nil {
		if len(e.built) > 0 {
			try(append([]string{"rmi", "--force"}, e.built...)...)
		}
		return errors.Join(errs...)
	}
	try("image", "prune", "--force")
	try("builder", "prune", "--force")
	return errors.Join(append(errs, e.own.stop())...)
}

// Command is a docker command to be run with this engine.
func (e *Engine) Command(words ...string) *exec.Cmd { return e.Program("docker", words...) }

// Program is any command that talks to this engine, with the classic builder
// where it builds.
func (e *Engine) Program(name string, words ...string) *exec.Cmd {
	cmd := exec.Command(name, words...)
	cmd.Env = append(os.Environ(), "DOCKER_BUILDKIT=0")
	if e.host != "" {
		cmd.Env = append(cmd.Env, "DOCKER_HOST="+e.host)
	}
	return cmd
}

// Do runs a docker command and returns what it printed.
func (e *Engine) Do(words ...string) (string, error) { return output(e.Command(words...)) }

// longest is how long a command may take. The slowest, which makes a Debian, was
// seen to take a minute and a half.
const longest = 15 * time.Minute

// output runs a command and returns what it printed, without the last newline.
// The error holds all that it said.
func output(cmd *exec.Cmd) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.WaitDelay = time.Minute // for who still has its output open
	err := cmd.Start()
	if err == nil {
		tooLong := time.AfterFunc(longest, func() { cmd.Process.Kill() })
		err = cmd.Wait()
		tooLong.Stop()
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s%s", strings.Join(cmd.Args, " "), err, stdout.Bytes(), bytes.TrimSpace(stderr.Bytes()))
	}
	return strings.TrimSuffix(stdout.String(), "\n"), nil
}

// Build builds an image with the classic builder and returns its name. The
// words are docker build's, without the name.
func (e *Engine) Build(name string, words ...string) (string, error) {
	return e.build(e.Command(), name, words)
}

// BuildKit does as Build with the builder of that name.
func (e *Engine) BuildKit(name string, words ...string) (string, error) {
	client, err := e.clientWithBuildKit()
	if err != nil {
		return "", err
	}
	return e.build(e.withBuildKit(client), name, words)
}

func (e *Engine) build(docker *exec.Cmd, name string, words []string) (string, error) {
	name = prefix + name + ":" + e.tag
	docker.Args = append(docker.Args, "build", "--tag="+name)
	if e.own != nil {
		docker.Args = append(docker.Args, "--network=host") // it has no bridge
	}
	docker.Args = append(docker.Args, words...)
	if _, err := output(docker); err != nil {
		return "", err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if !slices.Contains(e.built, name) {
		e.built = append(e.built, name)
	}
	return name, nil
}

// ErrNoBuildKit is returned where no docker command has that builder.
var ErrNoBuildKit = errors.New("no docker command here has BuildKit (Docker's package docker-buildx-plugin)")

// clientWithBuildKit is the first docker command on the PATH that builds with
// it: newer ones need a plugin, those before version 23 do not.
func (e *Engine) clientWithBuildKit() (string, error) {
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		client := filepath.Join(dir, "docker")
		if info, err := os.Stat(client); err != nil || info.IsDir() {
			continue
		}
		try := e.withBuildKit(client, "build", "--quiet", "-")
		try.Stdin = strings.NewReader("FROM scratch\nLABEL of=" + e.Network + "\n")
		if image, err := output(try); err == nil {
			_, err = e.Do("rmi", image)
			return client, err
		}
	}
	return "", ErrNoBuildKit
}

func (e *Engine) withBuildKit(client string, words ...string) *exec.Cmd {
	cmd := e.Program(client, words...)
	cmd.Env = append(slices.DeleteFunc(cmd.Env, func(v string) bool { return strings.HasPrefix(v, "DOCKER_BUILDKIT=") }), "DOCKER_BUILDKIT=1")
	return cmd
}
