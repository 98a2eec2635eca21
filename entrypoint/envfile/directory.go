package envfile

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/stablehand/stablehand/internal/deaf"
	"github.com/stablehand/stablehand/internal/small"
)

// readDirectory reads one version of a directory. It begins anew where another one
// took its place before all of it was read.
func readDirectory(ctx context.Context, path string) ([]Variable, error) {
	type answer struct {
		found []Variable
		err   error
	}
	answered := make(chan answer, 1)
	go deaf.Call(func() {
		for ctx.Err() == nil {
			v := versionOf(path)
			found, err := v.read()
			if !errors.Is(err, errGone) {
				answered <- answer{found, err}
				return
			}
		}
	})
	select {
	case a := <-answered:
		return a.found, a.err
	case <-ctx.Done():
		return nil, unreadable(shown(path), small.ErrHangs)
	}
}

// errGone is the error of a version that was taken away while it was read.
var errGone = errors.New("another version is in its place")

// A version is what a directory holds from one moment on. The kubelet writes each
// into a directory of its own, has the symlink ..data lead to that, and then
// removes the one before (atomic_writer.go in Kubernetes).
type version struct{ path, link string }

// versionOf is the newest version. It has no link where the directory itself holds
// the files.
func versionOf(path string) version {
	link, _ := os.Readlink(path + "/..data") // an error: it is no symlink
	return version{path, link}
}

// dir is where its files are. A .. in the link is for the kernel to follow, since
// path may be a symlink itself.
func (v version) dir() string {
	switch {
	case v.link == "":
		return v.path
	case filepath.IsAbs(v.link):
		return v.link
	}
	return v.path + "/" + v.link
}

// gone says whether another one is in its place, so that it is being removed.
func (v version) gone() bool { return versionOf(v.path) != v }

// read reads all of the version through one descriptor.
func (v version) read() ([]Variable, error) {
	dir, err := os.OpenFile(v.dir(), os.O_RDONLY|unix.O_DIRECTORY, 0)
	var names []string
	if err == nil {
		defer dir.Close()
		names, err = dir.Readdirnames(-1)
	}
	if v.gone() { // the list may lack what is removed already
		return nil, errGone
	}
	if err != nil {
		return nil, unreadable(shown(v.dir()), err)
	}
	slices.Sort(names)
	var found []Variable
	var errs []error
	for _, name := range names {
		if strings.HasPrefix(name, ".") {
			continue
		}
		content, _, err := small.ReadAt(dir, name, maxFile+1, 0)
		if err != nil && isDirectory(dir, name) {
			continue
		}
		variable, err := variableOf(shown(filepath.Join(v.path, name)), name, content, err)
		found, errs = append(found, variable), append(errs, err)
	}
	err = errors.Join(errs...)
	if err != nil && v.gone() {
		return nil, errGone
	}
	return found, err
}

// variableOf is the variable of a file, or all that is wrong with it.
func variableOf(place, name string, content []byte, err error) (Variable, error) {
	var errs []error
	switch {
	case err != nil:
		errs, content = append(errs, unreadable(place, err)), nil
	case len(content) > maxFile:
		errs, content = append(errs, tooLarge.at(place)), nil
	}
	v := Variable{name, strings.TrimSuffix(string(content), "\n")}
	if wrong := wrongWith(v); wrong != nil {
		errs = append(errs, wrong.at(place))
	}
	return v, errors.Join(errs...)
}

// isDirectory asks without opening it, which may not be allowed (lost+found).
func isDirectory(dir *os.File, name string) bool {
	var stat unix.Stat_t
	for {
		err := unix.Fstatat(int(dir.Fd()), name, &stat, 0)
		if err != unix.EINTR {
			return err == nil && stat.Mode&unix.S_IFMT == unix.S_IFDIR
		}
	}
}
