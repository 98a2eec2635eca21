package cluster

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

const (
	pauseImage = "docker.io/stablehand/pause:1"
	appImage   = "docker.io/stablehand/app" // tags 1 and 2

	gunicorn = "gunicorn-27.0.1" // the virtual environment that is in it
)

// makeImages makes the images without an engine, and has containerd import them.
func (c *cluster) makeImages() error {
	if err := c.makePause(); err != nil {
		return err
	}
	second := func(app string) string { return strings.Replace(app, `+ b"\n"`, `+ b", image 2\n"`, 1) }
	return errors.Join(c.makeApp("1", func(app string) string { return app }), c.makeApp("2", second))
}

// makePause makes a sandbox's image of its source, which comes with Kubernetes.
func (c *cluster) makePause() error {
	source, err := text(exec.Command("go", "list", "-m", "-f={{.Dir}}", "k8s.io/kubernetes"))
	if err != nil {
		return err
	}
	pause := c.file("pause")
	if err := output(exec.Command("gcc", "-Os", "-static", "-o", pause, strings.TrimSpace(source)+"/build/pause/linux/pause.c")); err != nil {
		return err
	}
	files := newFiles()
	files.copy(pause, "pause")
	return c.load(pauseImage, files, v1.Config{Entrypoint: []string{"/pause"}, User: "65535:65535"})
}

// makeApp makes an image as the Dockerfile of examples/docker has it: Python and its
// libraries from this machine, gunicorn from a virtual environment of the tests', and the
// application of the example.
func (c *cluster) makeApp(tag string, changed func(string) string) error {
	if err := c.build(); err != nil {
		return err
	}
	files := newFiles()
	files.python(filepath.Join(c.top, ".cache/py", gunicorn))
	files.copy(c.file("stablehand"), "usr/local/bin/stablehand")
	app, err := os.ReadFile(filepath.Join(c.top, "examples/docker/app.py"))
	files.add("app/app.py", 0o644, []byte(changed(string(app))))
	files.fail(err)
	return c.load(appImage+":"+tag, files, v1.Config{
		Entrypoint: []string{"stablehand"}, Cmd: []string{"--config=/etc/app/gunicorn.conf.py", "app:app"},
		WorkingDir: "/app", User: "65534:65534",
		Env: []string{"PATH=/venv/bin:/usr/local/bin:/usr/bin", "PYTHONUNBUFFERED=1", "HOME=/tmp", "STABLEHAND_BIND=0.0.0.0:8000", "STABLEHAND_WATCH=/etc/app"},
	})
}

// build builds stablehand.
func (c *cluster) build() error {
	build := exec.Command("go", "build", "-o", c.file("stablehand"), "./cmd/stablehand")
	build.Dir, build.Env = c.top, append(os.Environ(), "CGO_ENABLED=0")
	return output(build)
}

// load has containerd import an image of one layer.
func (c *cluster) load(tag string, files *files, config v1.Config) error {
	if err := files.close(); err != nil {
		return err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(files.packed.Bytes())), nil })
	if err != nil {
		return err
	}
	image, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		return err
	}
	whole, err := image.ConfigFile()
	if err != nil {
		return err
	}
	whole = whole.DeepCopy()
	whole.OS, whole.Architecture, whole.Config = "linux", runtime.GOARCH, config
	if image, err = mutate.ConfigFile(image, whole); err != nil {
		return err
	}
	named, err := name.NewTag(tag)
	if err != nil {
		return err
	}
	file := c.file("image.tar")
	if err := tarball.WriteToFile(file, named, image); err != nil {
		return err
	}
	return output(exec.Command("ctr", "--namespace=k8s.io", "images", "import", file))
}

// files are those of a layer. The first thing that went wrong is close's.
type files struct {
	packed bytes.Buffer
	out    *tar.Writer
	has    map[string]bool
	err    error
}

func newFiles() *files {
	f := &files{has: map[string]bool{}}
	f.out = tar.NewWriter(&f.packed)
	return f
}

func (f *files) fail(err error) {
	if f.err == nil {
		f.err = err
	}
}

func (f *files) close() error {
	f.fail(f.out.Close())
	return f.err
}

// add adds a file, once.
func (f *files) add(path string, mode fs.FileMode, content []byte) {
	f.put(&tar.Header{Name: path, Mode: int64(mode.Perm()), Size: int64(len(content))}, content)
}

func (f *files) put(header *tar.Header, content []byte) {
	if f.has[header.Name] {
		return
	}
	f.has[header.Name] = true
	f.fail(f.out.WriteHeader(header))
	_, err := f.out.Write(content)
	f.fail(err)
}

// copy copies a file of this machine, with its date, by which Python knows whether what
// it has compiled is of it.
func (f *files) copy(from, to string) {
	info, err := os.Stat(from)
	if err != nil {
		f.fail(err)
		return
	}
	content, err := os.ReadFile(from)
	f.fail(err)
	f.put(&tar.Header{Name: strings.TrimPrefix(to, "/"), Mode: int64(info.Mode().Perm()), Size: int64(len(content)), ModTime: info.ModTime()}, content)
}

func (f *files) link(path, to string) {
	f.put(&tar.Header{Typeflag: tar.TypeSymlink, Name: path, Linkname: to}, nil)
}

// copyTree copies the files of a directory, without directories of some names.
func (f *files) copyTree(from, to string, without *regexp.Regexp) {
	f.fail(filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		switch below := strings.TrimPrefix(path, from); {
		case err != nil:
			return err
		case path != from && entry.IsDir() && without.MatchString(entry.Name()):
			return fs.SkipDir
		case !entry.IsDir():
			f.copy(path, to+below)
		}
		return nil
	}))
}

var (
	unused = regexp.MustCompile(`^(test|tests|idlelib|lib2to3|ensurepip|tkinter|turtledemo|site-packages|dist-packages|config-.*|pip|pip-.*|setuptools.*)$`)
	linked = regexp.MustCompile(`(?m)(/\S+) \(0x`)
)

// python adds the Python of a virtual environment, and the environment as /venv.
func (f *files) python(environment string) {
	said, err := text(exec.Command(environment+"/bin/python3", "-c", "import os, sys, sysconfig\nprint(os.path.realpath(sys.executable), sysconfig.get_path('stdlib'), sysconfig.get_path('purelib'))"))
	if err != nil {
		f.fail(err)
		return
	}
	words := strings.Fields(said)
	python, library, packages := words[0], words[1], words[2]
	f.copy(python, python)
	f.copyTree(library, library, unused)
	f.copyTree(packages, "venv/lib/"+filepath.Base(library)+"/site-packages", unused)
	f.libraries(python, library)
	f.add("venv/pyvenv.cfg", 0o644, fmt.Appendf(nil, "home = %s\n", filepath.Dir(python)))
	f.link("venv/bin/python3", python)
	f.add("venv/bin/gunicorn", 0o755, []byte("#!/venv/bin/python3\nfrom gunicorn.app.wsgiapp import run\n\nrun()\n"))
}

// libraries adds what Python and its modules are linked with.
func (f *files) libraries(python, library string) {
	modules, err := filepath.Glob(library + "/lib-dynload/*.so")
	f.fail(err)
	for _, file := range append(modules, python) {
		said, err := text(exec.Command("ldd", file))
		f.fail(err)
		for _, found := range linked.FindAllStringSubmatch(said, -1) {
			f.copy(found[1], found[1])
		}
	}
}
