package docker

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stablehand/stablehand/internal/docker"
)

// TestTheRecipeFitsFrameworks builds the images of the examples that follow this
// one, and changes the settings that are mounted in their containers.
func TestTheRecipeFitsFrameworks(t *testing.T) {
	for _, framework := range []string{"django", "fastapi"} {
		t.Run(framework, func(t *testing.T) {
			e, images := docker.Built(t)
			example := filepath.Join(top, "examples", framework)
			image, err := e.BuildExample(framework, images)
			if err != nil {
				t.Fatal(err)
			}
			config := t.TempDir()
			if err := os.CopyFS(config, os.DirFS(filepath.Join(example, "config"))); err != nil {
				t.Fatal(err)
			}
			c := e.Create(t, "--network="+e.Network, "--publish=127.0.0.1::8000", "--volume="+config+":/etc/app:ro", image)
			c.Start()
			url := c.URL("8000/tcp")
			c.Answers(url, "Hello, version 1")
			run := c.Load(url, 8)
			defer run.Stop()
			settings := filepath.Join(config, "settings.json")
			old, err := os.ReadFile(settings)
			if err != nil {
				t.Fatal(err)
			}
			changed := strings.Replace(string(old), "version 1", "version 2", 1)
			if err := os.WriteFile(settings, []byte(changed), 0o644); err != nil {
				t.Fatal(err)
			}
			c.Says(`msg="handed off"`, "generation=2")
			c.Answers(url, "Hello, version 2")
			docker.Unharmed(t, run)
			c.Do("stop", "--time=60", c.ID)
			if code := c.Inspect("{{.State.ExitCode}}"); code != "0" {
				t.Errorf("it stopped with exit code %s", code)
			}
		})
	}
}
