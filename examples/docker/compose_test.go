package docker

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stablehand/stablehand/entrypoint/status"
	"github.com/stablehand/stablehand/internal/docker"
	"github.com/stablehand/stablehand/internal/load"
)

// project is docker-compose.yml with what belongs to it, in a copy that the
// test may write to.
type project struct {
	t       *testing.T
	engine  *docker.Engine
	compose []string // the command's first words
	name    string
	dir     string
	port    string
}

// ofProject is what the docker-compose.yml and the Dockerfile read.
var ofProject = []string{"docker-compose.yml", "Dockerfile", ".dockerignore", "go.mod", "go.sum", "cmd", "entrypoint", "internal", "reaper", "examples/flask"}

func newProject(t *testing.T) *project {
	t.Helper()
	e := docker.Shared(t)
	p := &project{t: t, engine: e, dir: t.TempDir(), name: strings.ReplaceAll(e.Network, "/", "-")}
	if _, err := exec.LookPath("docker-compose"); err == nil {
		p.compose = []string{"docker-compose"}
	} else if _, err := e.Do("compose", "version"); err == nil {
		p.compose = []string{"docker", "compose"}
	} else {
		t.Skip("Compose is missing (Debian: apt-get install docker-compose)")
	}
	for _, name := range ofProject {
		to := filepath.Join(p.dir, filepath.Dir(name))
		if err := os.MkdirAll(to, 0o755); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("cp", "-R", filepath.Join(top, name), to).CombinedOutput(); err != nil {
			t.Fatalf("copying %s: %v\n%s", name, err, out)
		}
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	_, p.port, _ = net.SplitHostPort(listener.Addr().String())
	return p
}

// do runs a word of Compose's and returns what it printed.
func (p *project) do(words ...string) string {
	p.t.Helper()
	words = append(append(p.compose[1:len(p.compose):len(p.compose)], "--project-name="+p.name), words...)
	cmd := p.engine.Program(p.compose[0], words...)
	cmd.Dir = p.dir
	cmd.Env = append(cmd.Env, "PORT="+p.port, "COMPOSE_DOCKER_CLI_BUILD=0")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		p.t.Fatalf("%v: %v\n%s%s", cmd.Args, err, out, stderr.String())
	}
	return strings.TrimSpace(string(out))
}

// up builds and starts the project, and returns its container.
func (p *project) up() *container {
	p.t.Helper()
	_, images := docker.Built(p.t) // whose layers are in the cache of the builder then
	p.do(append([]string{"build", "--build-arg=GO_IMAGE=" + images.Go, "--build-arg=PYTHON_IMAGE=" + images.Python}, docker.Told...)...)
	p.t.Cleanup(func() { p.do("down", "--rmi=local", "--volumes") })
	p.do("up", "--detach", "--no-build")
	return &container{
		Container: p.engine.Container(p.t, p.do("ps", "--quiet", "web")),
		t:         p.t,
		url:       "http://127.0.0.1:" + p.port + "/",
	}
}

// edit saves a file of the example with one text replaced.
func (p *project) edit(name, old, new, how string) {
	p.t.Helper()
	file := filepath.Join(p.dir, "examples", "flask", name)
	text, err := os.ReadFile(file)
	if err != nil {
		p.t.Fatal(err)
	}
	if !strings.Contains(string(text), old) {
		p.t.Fatalf("%s does not say %s", name, old)
	}
	edits[how](p.t, file, strings.Replace(string(text), old, new, 1))
}

func TestComposeShowsEachSave(t *testing.T) {
	const saves = 20
	p := newProject(t)
	c := p.up()
	c.answers("Hello, version 1")
	ctx, cancel := context.WithTimeout(t.Context(), saves*docker.Patience/4)
	defer cancel()
	run := load.Start(ctx, load.Options{URL: c.url, Clients: 4, Dial: c.Dial})
	configured, programmed := "version 1", `"\n"`
	hows := []string{"in place", "by rename"}
	for i := range saves {
		how, n := hows[i/2%2], i+2
		if i%2 == 0 {
			next := fmt.Sprint("version ", n)
			p.edit("gunicorn.conf.py", configured, next, how)
			configured = next
		} else {
			next := fmt.Sprintf(`" of program %d\n"`, n)
			p.edit("app.py", programmed, next, how)
			programmed = next
		}
		// The program's part is a Python string: without quotes and newline.
		want := "Hello, " + configured + strings.TrimSuffix(strings.Trim(programmed, `"`), `\n`)
		if err := run.WaitFor(ctx, want); err != nil {
			t.Fatal(err)
		}
	}
	// A save may be answered by a worker of the generation before, which has
	// loaded the program late. So there may be fewer handoffs than saves.
	docker.Eventually(t, "the last save in force", func() bool {
		var now status.Status
		if err := json.Unmarshal([]byte(c.Exec("stablehand", "status", "--json")), &now); err != nil {
			t.Fatal(err)
		}
		return now.InSync != nil && *now.InSync && now.Handoff == nil && now.Next == nil
	})
	docker.Unharmed(t, run)
	p.do("stop")
	if code := c.Inspect("{{.State.ExitCode}}"); code != "0" {
		t.Errorf("after stop the exit code is %s", code)
	}
}
