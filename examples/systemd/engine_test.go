// Package systemd shows with the real systemd, as PID 1 of a container, what
// stablehand promises of a unit, and that the units of this directory work.
package systemd

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stablehand/stablehand/internal/docker"
)

func TestMain(m *testing.M) { os.Exit(docker.Main(m)) }

// built returns an image with systemd, stablehand and the application in it. A
// test is skipped where there is nothing to build it on.
func built(t *testing.T, name, debian string) (*docker.Engine, string) {
	t.Helper()
	e, images := docker.Built(t)
	base, err := e.Base(debian)
	if errors.Is(err, docker.ErrNoBase) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	image, err := e.Build(name, "--build-arg=STABLEHAND_IMAGE="+images.Binary, "--build-arg=DEBIAN_IMAGE="+base,
		"--file="+filepath.Join("testdata", "Dockerfile"), ".")
	if err != nil {
		t.Fatal(err)
	}
	return e, image
}
