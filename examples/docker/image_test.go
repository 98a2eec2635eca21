package docker

import (
	"crypto/sha256"
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stablehand/stablehand/internal/docker"
)

// mostBytes is the most that stablehand may add to an image.
const mostBytes = 10 << 20

func TestTheBinaryIsOneSmallLayer(t *testing.T) {
	e, images := docker.Built(t)
	for _, image := range []string{images.Binary, images.Example} {
		t.Run(image, func(t *testing.T) {
			var sizes []int
			for line := range strings.Lines(docker.MustDo(t, e, "history", "--no-trunc", "--human=false", "--format={{.Size}} {{.CreatedBy}}", image)) {
				size, by, _ := strings.Cut(line, " ")
				n, err := strconv.Atoi(size)
				if err != nil {
					t.Fatal(err)
				}
				if n > 0 && strings.Contains(by, "COPY") && strings.Contains(by, "/stablehand") {
					sizes = append(sizes, n)
				}
			}
			if len(sizes) != 1 || sizes[0] > mostBytes {
				t.Errorf("layers with the binary have %d bytes, want one of at most %d", sizes, mostBytes)
			}
			t.Logf("its layer has %d bytes", sizes)
		})
	}
}

// In the recipe's image pip has put it on PATH, and it is the binary itself.
func TestPipHasPutTheBinaryOnPath(t *testing.T) {
	e, images := docker.Built(t)
	sum := func(image, file string) string {
		t.Helper()
		id := docker.MustDo(t, e, "create", image)
		defer docker.MustDo(t, e, "rm", id)
		copied := filepath.Join(t.TempDir(), "stablehand")
		docker.MustDo(t, e, "cp", "--follow-link", id+":"+file, copied)
		content, err := os.ReadFile(copied)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("%x", sha256.Sum256(content))
	}
	file := docker.MustDo(t, e, "run", "--rm", "--network=none", "--entrypoint=sh", images.Recipe, "-c", "command -v stablehand")
	if file != "/venv/bin/stablehand" || sum(images.Recipe, file) != sum(images.Binary, "/stablehand") {
		t.Errorf("stablehand is %s, and not the binary", file)
	}
}

// .git is no part of what an image is built from.
func TestTheBinaryOfAnImageSaysWhatItWasBuiltFrom(t *testing.T) {
	e, images := docker.Built(t)
	for _, image := range []string{images.Binary, images.Example, images.Recipe} {
		if said := docker.MustDo(t, e, "run", "--rm", "--network=none", image, "version"); !strings.HasPrefix(said, "stablehand "+docker.Says) {
			t.Errorf("%s says %s", image, said)
		}
	}
}

func TestEveryArchitectureCanBeBuiltFor(t *testing.T) {
	e, images := docker.Built(t)
	host := docker.MustDo(t, e, "image", "inspect", "--format={{.Architecture}}", images.Binary)
	other := map[string]string{"amd64": "arm64", "arm64": "amd64"}[host]
	t.Run(host, func(t *testing.T) { isFor(t, e, images.Binary, host) })
	t.Run(other+" with BuildKit", func(t *testing.T) { isFor(t, e, withBuildKit(t, e, other), other) })
	t.Run(other+" with the classic builder", func(t *testing.T) { isFor(t, e, prebuilt(t, e, other), other) })
}

// withBuildKit builds for another architecture as the Dockerfile says.
func withBuildKit(t *testing.T, e *docker.Engine, arch string) string {
	t.Helper()
	_, images := docker.Built(t)
	image, err := e.BuildKit("stablehand-"+arch, "--platform=linux/"+arch, "--build-arg=GO_IMAGE="+images.Go, "--target=binary", top)
	if errors.Is(err, docker.ErrNoBuildKit) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return image
}

// prebuilt builds for another architecture as prebuilt.Dockerfile says.
func prebuilt(t *testing.T, e *docker.Engine, arch string) string {
	t.Helper()
	dir := t.TempDir()
	compile := exec.Command("go", "build", "-trimpath", "-tags=nethttpomithttp2", "-ldflags=-s", "-o", filepath.Join(dir, "stablehand"), "./cmd/stablehand")
	compile.Dir, compile.Env = top, append(os.Environ(), "CGO_ENABLED=0", "GOARCH="+arch)
	if out, err := compile.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", compile.Args, err, out)
	}
	image, err := e.Build("prebuilt-"+arch, "--platform=linux/"+arch, "--file=prebuilt.Dockerfile", dir)
	if err != nil {
		t.Fatal(err)
	}
	return image
}

var machines = map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}

// isFor checks that an image says what it is for, and that its binary is.
func isFor(t *testing.T, e *docker.Engine, image, arch string) {
	t.Helper()
	if says := docker.MustDo(t, e, "image", "inspect", "--format={{.Architecture}}", image); says != arch {
		t.Errorf("the image says that it is for %s", says)
	}
	id := docker.MustDo(t, e, "create", "--platform=linux/"+arch, image)
	t.Cleanup(func() { docker.MustDo(t, e, "rm", id) })
	file := filepath.Join(t.TempDir(), "stablehand")
	docker.MustDo(t, e, "cp", id+":/stablehand", file)
	binary, err := elf.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer binary.Close()
	if binary.Machine != machines[arch] {
		t.Errorf("the binary is for %s", binary.Machine)
	}
	if binary.Section(".interp") != nil {
		t.Error("the binary is not static")
	}
}
