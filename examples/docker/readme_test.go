package docker

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stablehand/stablehand/internal/docker"
)

// TestTheREADMEsDockerfilesWork builds each Dockerfile of the README in a copy of the
// example for its framework, as the README says, runs the image, and changes what it
// watches.
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
			project := t.TempDir()
			if err := os.CopyFS(project, os.DirFS(filepath.Join(top, "examples", framework))); err != nil {
				t.Fatal(err)
			}
			if err := e.PutWheel(images.Binary, project); err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(project, "Dockerfile"), strings.Replace(one[2], "FROM python:3-slim\n", "FROM "+images.Python+"\n", 1))
			image, err := e.Build("readme-"+framework, project)
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
			write(t, filepath.Join(config, "settings"), "changed\n")
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

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
