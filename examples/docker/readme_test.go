package docker

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stablehand/stablehand/internal/docker"
)

// TestTheREADMEsDockerfilesWork builds each Dockerfile of the README in the folder of
// the example for its framework, runs the image, and changes what it watches.
func TestTheREADMEsDockerfilesWork(t *testing.T) {
	readme, err := os.ReadFile(filepath.Join(top, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile("(?ms)^\\*\\*(\\w+)\\*\\*[^`]*^```dockerfile\n(.*?)^```$").FindAllStringSubmatch(string(readme), -1)
	if len(found) != 3 {
		t.Fatalf("README.md has %d Dockerfiles, want 3", len(found))
	}
	for _, one := range found {
		framework := strings.ToLower(one[1])
		t.Run(framework, func(t *testing.T) {
			e, images := docker.Built(t)
			names := strings.NewReplacer("FROM python:3-slim\n", "FROM "+images.Python+"\n", "--from=stablehand ", "--from="+images.Binary+" ")
			file := filepath.Join(t.TempDir(), "Dockerfile")
			if err := os.WriteFile(file, []byte(names.Replace(one[2])), 0o644); err != nil {
				t.Fatal(err)
			}
			image, err := e.Build("readme-"+framework, "--file="+file, withoutWheel(t, filepath.Join(top, "examples", framework)))
			if err != nil {
				t.Fatal(err)
			}
			config := t.TempDir()
			c := e.Create(t, "--network="+e.Network, "--publish=127.0.0.1::8000", "--volume="+config+":/etc/app:ro", image)
			c.Start()
			url := c.URL("8000/tcp")
			c.Answers(url, "Hello, version 1")
			run := c.Load(url, 4)
			defer run.Stop()
			if err := os.WriteFile(filepath.Join(config, "settings"), []byte("changed\n"), 0o644); err != nil {
				t.Fatal(err)
			}
			c.Says(`msg="handed off"`, "generation=2")
			docker.Unharmed(t, run)
			docker.Eventually(t, "it is healthy", func() bool { return c.Inspect("{{.State.Health.Status}}") == "healthy" })
			c.Do("stop", "--time=60", c.ID)
			if code := c.Inspect("{{.State.ExitCode}}"); code != "0" {
				t.Errorf("it stopped with exit code %s", code)
			}
		})
	}
}

// withoutWheel copies an example whose requirements do not name stablehand: these
// Dockerfiles copy it from an image.
func withoutWheel(t *testing.T, example string) string {
	t.Helper()
	context := t.TempDir()
	if err := os.CopyFS(context, os.DirFS(example)); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(context, "requirements.txt")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(strings.Replace(string(text), "stablehand\n", "", 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	return context
}
