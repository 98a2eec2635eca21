package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// target is a machine that there are artifacts for.
type target struct {
	name   string   // in file names
	goarch string   // as Go has it
	env    string   // what else Go is to be told, so that nothing of the builder's decides
	linux  string   // as uname -m and Python have it
	wheels []string // Python's tags for it, oldest systems first
}

// targets are all machines with Linux that gunicorn may well run on. The oldest glibc and
// musl that wheels can be for are named, since a static binary needs none: that of
// manylinux2014, and those that had each machine first.
var targets = []target{
	{"amd64", "amd64", "GOAMD64=v1", "x86_64", []string{"manylinux_2_17", "manylinux2014", "musllinux_1_1"}},
	{"arm64", "arm64", "GOARM64=v8.0", "aarch64", []string{"manylinux_2_17", "manylinux2014", "musllinux_1_1"}},
	{"armv7", "arm", "GOARM=7", "armv7l", []string{"manylinux_2_17", "manylinux2014", "musllinux_1_1"}},
	{"ppc64le", "ppc64le", "GOPPC64=power8", "ppc64le", []string{"manylinux_2_17", "manylinux2014", "musllinux_1_1"}},
	{"riscv64", "riscv64", "GORISCV64=rva20u64", "riscv64", []string{"manylinux_2_31", "musllinux_1_2"}},
	{"s390x", "s390x", "", "s390x", []string{"manylinux_2_17", "manylinux2014", "musllinux_1_1"}},
}

// binary is the file that was built for a target.
func (t target) binary() string { return filepath.Join(dist, "stablehand-linux-"+t.name) }

// environ is the environment of a build: nothing in it that decides what comes out is the
// builder's. GOENV keeps out what go env -w has written: it would count wherever a
// variable is empty.
func (t target) environ() []string {
	return append(os.Environ(), "GOENV=off", "GOFLAGS=-trimpath", "GOWORK=off", "GOEXPERIMENT=", "GOFIPS140=off", "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+t.goarch, t.env)
}

// buildBinaries builds one for each target.
func buildBinaries(from source) error {
	const of = "-X github.com/stablehand/stablehand/internal/version."
	flags := strings.Join([]string{"-s", of + "version=" + from.version, of + "commit=" + from.commit, of + "date=" + from.date()}, " ")
	for _, t := range targets {
		// Without what Go would read of git: that is not the same in a clone with other
		// tags. And without HTTP/2, which nothing of it speaks.
		cmd := exec.Command("go", "build", "-buildvcs=false", "-tags=nethttpomithttp2", "-ldflags="+flags, "-o", t.binary(), "./cmd/stablehand")
		cmd.Env = t.environ()
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("building for %s: %w\n%s", t.name, err, out)
		}
	}
	return nil
}

// ask returns what the binary for this machine prints.
func ask(words ...string) ([]byte, error) {
	here, err := thisMachine()
	if err != nil {
		return nil, err
	}
	out, err := exec.Command(here.binary(), words...).Output()
	if err != nil {
		return nil, fmt.Errorf("stablehand %s: %w", strings.Join(words, " "), err)
	}
	return out, nil
}

// thisMachine is the target that can be run here.
func thisMachine() (target, error) {
	for _, t := range targets {
		if t.goarch == runtime.GOARCH && runtime.GOOS == "linux" {
			return t, nil
		}
	}
	return target{}, fmt.Errorf("a release is built on one of the machines that it is for, not on %s/%s", runtime.GOOS, runtime.GOARCH)
}
