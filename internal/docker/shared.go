package docker

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stablehand/stablehand/internal/wheel"
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

// Says is what the binary was told to say of itself, and Told are the words of docker
// build that tell it so.
const Says = "v0.0.0-test (commit c0ffee, 2026-01-02T03:04:05Z, "

var Told = []string{"--build-arg=version=v0.0.0-test", "--build-arg=commit=c0ffee", "--build-arg=date=2026-01-02T03:04:05Z"}

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
	words := append([]string{"--build-arg=GO_IMAGE=" + i.Go, "--build-arg=PYTHON_IMAGE=" + i.Python}, Told...)
	if i.Binary, err = e.Build("stablehand", append(words, "--target=binary", top)...); err != nil {
		return i, err
	}
	if i.Example, err = e.Build("example", append(words, top)...); err != nil {
		return i, err
	}
	i.Recipe, err = e.BuildExample("docker", i)
	return i, err
})

// BuildExample builds the image of an example, with a wheel of the binary beside its
// Dockerfile, and returns its name.
func (e *Engine) BuildExample(name string, i Images) (string, error) {
	top, err := Top()
	if err != nil {
		return "", err
	}
	context, err := os.MkdirTemp("", "example-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(context)
	if err := os.CopyFS(context, os.DirFS(filepath.Join(top, "examples", name))); err != nil {
		return "", err
	}
	if err := e.PutWheel(i.Binary, context); err != nil {
		return "", err
	}
	return e.Build(name, "--build-arg=PYTHON_IMAGE="+i.Python, context)
}

// machines are what Python calls Go's.
var machines = map[string]string{"amd64": "x86_64", "arm64": "aarch64"}

// PutWheel puts a wheel with the binary of an image into a directory. The same binary
// gives the same wheel, so that the builder's cache knows it.
func (e *Engine) PutWheel(image, dir string) error {
	id, err := e.Do("create", image)
	if err != nil {
		return err
	}
	file := filepath.Join(dir, "stablehand")
	_, err = e.Do("cp", id+":/stablehand", file)
	if _, failed := e.Do("rm", id); err == nil {
		err = failed
	}
	if err != nil {
		return err
	}
	binary, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	machine := machines[runtime.GOARCH]
	w := wheel.Wheel{
		Version: "0.0.0", Tags: []string{"manylinux2014_" + machine, "musllinux_1_1_" + machine},
		Time: time.Unix(0, 0).AddDate(20, 0, 0), Binary: binary,
	}
	content, err := w.Pack()
	if err != nil {
		return err
	}
	return errors.Join(os.WriteFile(filepath.Join(dir, w.File()), content, 0o644), os.Remove(file))
}

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
