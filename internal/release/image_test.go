package main

import (
	"io"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"

	"github.com/stablehand/stablehand/internal/docker"
)

// pushed pushes the image to a registry on this machine, and returns its name there and
// the crane that did so.
func pushed(t *testing.T, dist string) (image string, crane func(words ...string) string) {
	t.Helper()
	tool := filepath.Join(t.TempDir(), "crane")
	must(t, "", "go", "build", "-o", tool, "github.com/google/go-containerregistry/cmd/crane")
	crane = func(words ...string) string {
		t.Helper()
		return must(t, "", append([]string{tool}, words...)...)
	}
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	image = strings.TrimPrefix(server.URL, "http://") + "/stablehand:1.0.0"
	layout := t.TempDir()
	must(t, layout, "tar", "--extract", "--file", only(t, dist, "*-oci.tar"))
	crane("push", layout, image)
	return image, crane
}

func TestTheImageIsPushedAndPulledForEachMachine(t *testing.T) {
	t.Parallel()
	dist := built(t)
	image, crane := pushed(t, dist)
	crane("validate", "--remote", image)
	for _, target := range targets {
		t.Run(target.name, func(t *testing.T) {
			platform := "linux/" + target.goarch
			if v := target.platform().Variant; v != "" {
				platform += "/" + v
			}
			root := t.TempDir()
			crane("export", "--platform", platform, image, root+".tar")
			must(t, root, "tar", "--extract", "--file", root+".tar")
			got, err := os.ReadFile(filepath.Join(root, "stablehand"))
			if err != nil {
				t.Fatal(err)
			}
			want, err := os.ReadFile(filepath.Join(dist, filepath.Base(target.binary())))
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != string(want) {
				t.Error("its file is not the binary")
			}
			if config := crane("config", "--platform", platform, image); !strings.Contains(config, `"architecture":"`+target.goarch+`"`) || !strings.Contains(config, `"Entrypoint":["/stablehand"]`) {
				t.Errorf("its configuration is %s", config)
			}
		})
	}
}

// TestDockerCopiesTheBinaryFromTheImage does what a Dockerfile does that begins on it.
func TestDockerCopiesTheBinaryFromTheImage(t *testing.T) {
	dist := built(t)
	e := docker.Shared(t)
	image, crane := pushed(t, dist)
	dir := t.TempDir()
	const pulled = "stablehand-test/pulled:1.0.0"
	crane("pull", "--platform", "linux/"+here(t).goarch, image, filepath.Join(dir, "image.tar"))
	loaded := docker.MustDo(t, e, "load", "--quiet", "--input", filepath.Join(dir, "image.tar"))
	name := strings.TrimPrefix(loaded, "Loaded image: ")
	docker.MustDo(t, e, "tag", name, pulled)
	t.Cleanup(func() { docker.MustDo(t, e, "rmi", name, pulled) })
	text := "FROM scratch\nCOPY --from=" + pulled + " /stablehand /usr/local/bin/stablehand\nENTRYPOINT [\"/usr/local/bin/stablehand\"]\n"
	context := t.TempDir()
	if err := os.WriteFile(filepath.Join(context, "Dockerfile"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	copied, err := e.Build("copied", context)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := docker.MustDo(t, e, "run", "--rm", "--network=none", copied, "version"), says(t, version); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
