// Package docker shows in real containers what stablehand promises of them, and
// that the Dockerfiles and the docker-compose.yml of this repository work.
package docker

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stablehand/stablehand/internal/docker"
)

// top is the top of the repository.
const top = "../.."

// opened is the engine of all tests, if one has asked for it.
var opened *docker.Engine

var open = sync.OnceValues(func() (*docker.Engine, error) {
	cache, err := filepath.Abs(filepath.Join(top, ".cache", "docker"))
	if err != nil {
		return nil, err
	}
	opened, err = docker.Open(cache)
	return opened, err
})

func TestMain(m *testing.M) {
	code := m.Run()
	if opened != nil {
		if err := opened.Close(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = max(code, 1)
		}
	}
	os.Exit(code)
}

// engine returns a Docker engine. The test is skipped where there is none.
func engine(t *testing.T) *docker.Engine {
	t.Helper()
	e, err := open()
	if err != nil {
		t.Skip(err)
	}
	return e
}

// do runs a docker command that is to succeed, and returns what it printed.
func do(t *testing.T, e *docker.Engine, words ...string) string {
	t.Helper()
	out, err := e.Do(words...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// images are the bases, and what the tests run, each built once.
type images struct{ python, golang, binary, example, recipe string }

var built = sync.OnceValues(func() (i images, err error) {
	e, err := open()
	if err != nil {
		return i, err
	}
	if i.python, err = e.Base(docker.PythonImage); err != nil {
		return i, err
	}
	if i.golang, err = e.Base(docker.GoImage); err != nil {
		return i, err
	}
	onGo, onPython := "--build-arg=GO_IMAGE="+i.golang, "--build-arg=PYTHON_IMAGE="+i.python
	if i.binary, err = e.Build("stablehand", onGo, onPython, "--target=binary", top); err != nil {
		return i, err
	}
	if i.example, err = e.Build("example", onGo, onPython, top); err != nil {
		return i, err
	}
	i.recipe, err = e.Build("recipe", "--build-arg=STABLEHAND_IMAGE="+i.binary, onPython, ".")
	return i, err
})

// build returns the engine and the images. The test is skipped where there is
// nothing to build them on.
func build(t *testing.T) (*docker.Engine, images) {
	t.Helper()
	e := engine(t)
	i, err := built()
	if errors.Is(err, docker.ErrNoBase) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return e, i
}
