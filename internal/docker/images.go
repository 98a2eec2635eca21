package docker

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

const (
	// PythonImage and GoImage are what the Dockerfiles build on by default.
	PythonImage = "python:3-slim"
	GoImage     = "golang:1.26"

	// Debian 12 and 13, for a system with more than one program in it.
	BookwormImage = "debian:bookworm-slim"
	TrixieImage   = "debian:trixie-slim"

	certificates = "etc/ssl/certs/ca-certificates.crt"
)

// ErrNoBase is returned where a base image can be neither pulled nor made.
var ErrNoBase = errors.New("no base image")

// Base returns an image to build on instead of a public one: that one itself
// where the engine has it or can pull it, else one that is made here.
func (e *Engine) Base(public string) (string, error) {
	made := prefix + public
	for _, name := range []string{public, made} {
		if _, err := e.Do("image", "inspect", name); err == nil {
			return name, nil
		}
	}
	_, unreachable := e.Do("pull", public)
	if unreachable == nil {
		return public, nil
	}
	makers := map[string]func(string) error{
		PythonImage:   e.makeDebian("bookworm", "python3", "python3-venv"),
		BookwormImage: e.makeDebian("bookworm"),
		TrixieImage:   e.makeDebian("trixie"),
		GoImage:       e.makeGo,
	}
	if makers[public] == nil {
		return "", fmt.Errorf("%w %s: %w", ErrNoBase, public, unreachable)
	}
	if err := makers[public](made); err != nil {
		return "", fmt.Errorf("%w %s: %w, and %w", ErrNoBase, public, unreachable, err)
	}
	return made, nil
}

// makeDebian returns what makes a small Debian with some packages.
func (e *Engine) makeDebian(suite string, packages ...string) func(name string) error {
	return func(name string) error {
		root, err := os.MkdirTemp("", "debian-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(root)
		include := strings.Join(append(packages, "ca-certificates"), ",")
		if _, err := output(exec.Command("debootstrap", "--variant=minbase", "--include="+include, suite, root)); err != nil {
			return err
		}
		if err := slim(root); err != nil {
			return err
		}
		tar := exec.Command("tar", "--create", "--directory="+root, ".")
		packed, err := tar.StdoutPipe()
		if err != nil {
			return err
		}
		if err := tar.Start(); err != nil {
			return err
		}
		load := e.Command("import", "-", name)
		load.Stdin = packed
		_, err = output(load)
		packed.Close() // else tar would wait for who has ended
		return errors.Join(err, tar.Wait())
	}
}

// slim removes the packages' files, and makes the system trust what this
// machine trusts: a mirror of PyPI, say.
func slim(root string) error {
	packages, err := filepath.Glob(filepath.Join(root, "var/cache/apt/archives/*.deb"))
	if err != nil {
		return err
	}
	for _, file := range packages {
		if err := os.Remove(file); err != nil {
			return err
		}
	}
	ours, err := os.Open("/" + certificates)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer ours.Close()
	theirs, err := os.Create(filepath.Join(root, certificates))
	if err != nil {
		return err
	}
	_, err = io.Copy(theirs, ours)
	return errors.Join(err, theirs.Close())
}

// makeGo puts this machine's Go on top of the image with Python.
func (e *Engine) makeGo(name string) error {
	base, err := e.Base(PythonImage)
	if err != nil {
		return err
	}
	root, err := output(exec.Command("go", "env", "GOROOT"))
	if err != nil {
		return err
	}
	build := e.Command("build", "--tag="+name, "--file=-", root)
	build.Stdin = strings.NewReader("FROM " + base + "\nCOPY . /usr/local/go\nENV PATH=/usr/local/go/bin:/usr/sbin:/usr/bin:/sbin:/bin\n")
	_, err = output(build)
	return err
}
