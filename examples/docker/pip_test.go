package docker

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stablehand/stablehand/internal/wheel"
)

// TestTheWheelBesideTheDockerfileIsInstalled runs pip as each Dockerfile does, where there
// are others that anybody could publish: one of a higher version, and one of the same for
// a platform that pip prefers. The requirements name stablehand, which nobody need do.
func TestTheWheelBesideTheDockerfileIsInstalled(t *testing.T) {
	if err := exec.Command("python3", "-c", "import venv, ensurepip").Run(); err != nil {
		t.Skip("python3 cannot build virtual environments (Debian: apt-get install python3-venv)")
	}
	published, project := t.TempDir(), t.TempDir()
	pack(t, published, "9.0.0", "manylinux2014_x86_64", "manylinux2014_aarch64")
	pack(t, published, "0.0.0rc1", "manylinux_2_28_x86_64", "manylinux_2_28_aarch64")
	pack(t, project, "0.0.0rc1", "manylinux2014_x86_64", "manylinux2014_aarch64")
	write(t, filepath.Join(project, "requirements.txt"), "stablehand\n")
	for command, in := range pipLines(t) {
		venv := t.TempDir()
		cmd := exec.Command("sh", "-c", strings.ReplaceAll(command, "/venv", venv))
		cmd.Dir = project
		cmd.Env = append(os.Environ(), "PIP_NO_INDEX=1", "PIP_FIND_LINKS="+published)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", in, err, out)
		}
		got, err := os.ReadFile(filepath.Join(venv, "bin", "stablehand"))
		if want := project; err != nil || string(got) != want {
			t.Errorf("%s: %s has installed the one of %s, want %s (%v)", in, command, got, want, err)
		}
	}
}

// pack puts a wheel into a directory, whose program is the directory's name.
func pack(t *testing.T, dir, version string, tags ...string) {
	t.Helper()
	w := wheel.Wheel{Version: version, Tags: tags, Binary: []byte(dir)}
	content, err := w.Pack()
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, w.File()), string(content))
}

// pipLines are the commands by which the Dockerfiles install, each with a file that has it.
func pipLines(t *testing.T) map[string]string {
	t.Helper()
	lines := make(map[string]string)
	for _, name := range []string{"README.md", "examples/docker/Dockerfile", "examples/django/Dockerfile", "examples/fastapi/Dockerfile"} {
		text, err := os.ReadFile(filepath.Join(top, name))
		if err != nil {
			t.Fatal(err)
		}
		found := regexp.MustCompile(`(?m)^RUN (.*pip install .*)$`).FindAllStringSubmatch(string(text), -1)
		if len(found) == 0 {
			t.Errorf("%s installs nothing by pip", name)
		}
		for _, line := range found {
			lines[line[1]] = name
		}
	}
	return lines
}
