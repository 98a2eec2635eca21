package docker

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// shared is the engine of all tests of a package, if one has asked for it.
var shared *Engine

var share = sync.OnceValues(func() (*Engine, error) {
	top, err := Top()
	if err != nil {
		return nil, err
	}
	shared, err = Open(filepath.Join(top, ".cache", "docker"))
	return shared, err
})

// Main runs the tests of a package and closes their engine. It returns what to
// exit with, and is to be called by TestMain.
func Main(m *testing.M) int {
	code := m.Run()
	if shared != nil {
		if err := shared.Close(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = max(code, 1)
		}
	}
	return code
}

// Shared returns the one engine of a package's tests. A test is skipped where
// there is none.
func Shared(t testing.TB) *Engine {
	t.Helper()
	e, err := share()
	if err != nil {
		t.Skip(err)
	}
	return e
}

// Top is the top of the repository, above the directory of the tests.
func Top() (string, error) {
	dir, err := os.Getwd()
	for err == nil {
		text, _ := os.ReadFile(filepath.Join(dir, "go.mod"))
		if strings.HasPrefix(string(text), "module github.com/stablehand/stablehand\n") {
			return dir, nil
		}
		if dir == "/" {
			return "", errors.New("the tests are in no repository")
		}
		dir = filepath.Dir(dir)
	}
	return "", err
}

// Images are the bases, and what the Dockerfiles of this repository make.
type Images struct {
	Python, Go string
	Binary     string // the Dockerfile's, to copy stablehand from
	Example    string // the Dockerfile's, examples/flask
	Recipe     string // of examples/docker
}

var build = sync.OnceValues(func() (i Images, err error) {
	e, err := share()
	if err != nil {
		return i, err
	}
	top, err := Top()
	if err != nil {
		return i, err
	}
	if i.Python, err = e.Base(PythonImage); err != nil {
		return i, err
	}
	if i.Go, err = e.Base(GoImage); err != nil {
		return i, err
	}
	onGo, onPython := "--build-arg=GO_IMAGE="+i.Go, "--build-arg=PYTHON_IMAGE="+i.Python
	if i.Binary, err = e.Build("stablehand", onGo, onPython, "--target=binary", top); err != nil {
		return i, err
	}
	if i.Example, err = e.Build("example", onGo, onPython, top); err != nil {
		return i, err
	}
	i.Recipe, err = e.Build("recipe", "--build-arg=STABLEHAND_IMAGE="+i.Binary, onPython, filepath.Join(top, "examples", "docker"))
	return i, err
})

// Built returns the engine and the images, each built once. A test is skipped
// where there is no engine, or nothing to build them on.
func Built(t testing.TB) (*Engine, Images) {
	t.Helper()
	e := Shared(t)
	i, err := build()
	if errors.Is(err, ErrNoBase) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return e, i
}
