package main

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/goreleaser/nfpm/v2"
	_ "github.com/goreleaser/nfpm/v2/apk" // these register themselves
	_ "github.com/goreleaser/nfpm/v2/deb"
	"github.com/goreleaser/nfpm/v2/files"
	_ "github.com/goreleaser/nfpm/v2/rpm"
)

// item is a file of the packages beside the binary.
type item struct {
	to      string
	only    string // the one kind of package that has it; empty: all have
	content []byte
}

// buildPackages builds each kind for each target.
func buildPackages(from source) error {
	dir, err := os.MkdirTemp("", "release-packages-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	items, err := packed()
	if err != nil {
		return err
	}
	var sources []string
	for i, item := range items {
		file := filepath.Join(dir, fmt.Sprint(i))
		if err := os.WriteFile(file, item.content, 0o644); err != nil {
			return err
		}
		sources = append(sources, file)
	}
	for _, kind := range []string{"deb", "rpm", "apk"} {
		for _, t := range targets {
			if err := buildPackage(from, kind, t, items, sources); err != nil {
				return fmt.Errorf("packing a .%s for %s: %w", kind, t.name, err)
			}
		}
	}
	return nil
}

func buildPackage(from source, kind string, t target, items []item, sources []string) error {
	contents := files.Contents{{Source: t.binary(), Destination: "/usr/bin/stablehand", FileInfo: &files.ContentFileInfo{Mode: 0o755, MTime: from.time}}}
	for i, item := range items {
		contents = append(contents, &files.Content{Source: sources[i], Destination: item.to, Packager: item.only,
			FileInfo: &files.ContentFileInfo{Mode: 0o644, MTime: from.time}})
	}
	info := nfpm.WithDefaults(&nfpm.Info{
		Name: "stablehand", Version: strings.Replace(from.version, "-rc.", "-rc", 1), Arch: strings.ReplaceAll(t.name, "armv", "arm"),
		Section: "web", Priority: "optional",
		Maintainer:  "The stablehand authors",
		Description: describe(kind),
		Homepage:    home, License: "MIT", MTime: from.time,
		Overridables: nfpm.Overridables{Contents: contents, RPM: nfpm.RPM{BuildHost: "localhost", Summary: "Container's PID 1 for gunicorn"}},
	})
	packager, err := nfpm.Get(kind)
	if err != nil {
		return err
	}
	file, err := os.Create(filepath.Join(dist, fileName(packager, info)))
	if err != nil {
		return err
	}
	defer file.Close()
	if err := packager.Package(info, file); err != nil {
		return err
	}
	return file.Close()
}

// fileName is what a kind of package is called, with no ~, which the version of a candidate
// has: GitHub would publish the file under another name than SHA256SUMS has.
func fileName(packager nfpm.Packager, info *nfpm.Info) string {
	return strings.ReplaceAll(packager.ConventionalFileName(info), "~", ".")
}

// describe says what the program is: in one line where a kind has no more.
func describe(kind string) string {
	const summary = "container's PID 1 for gunicorn"
	if kind == "apk" {
		return summary
	}
	return summary + `
It starts gunicorn, reaps zombies, forwards signals, and when a watched file
changes it hands over to a new gunicorn without a refused request; a broken
change is rolled back.`
}

// packed is what all packages have beside the binary: where, and what it is.
func packed() ([]item, error) {
	unit, err := unit()
	if err != nil {
		return nil, err
	}
	license, err := os.ReadFile("LICENSE")
	if err != nil {
		return nil, err
	}
	items := []item{
		{to: "/usr/lib/systemd/system/stablehand@.service", content: unit},
		{to: "/usr/share/doc/stablehand/copyright", only: "deb", content: license},
		{to: "/usr/share/licenses/stablehand/LICENSE", only: "rpm", content: license},
		{to: "/usr/share/licenses/stablehand/LICENSE", only: "apk", content: license},
	}
	page, err := ask("man")
	if err != nil {
		return nil, err
	}
	zipped, err := compressed(page)
	if err != nil {
		return nil, err
	}
	items = append(items, item{to: "/usr/share/man/man1/stablehand.1.gz", content: zipped})
	for _, c := range []struct{ shell, only, to string }{
		{"bash", "", "/usr/share/bash-completion/completions/stablehand"},
		{"fish", "", "/usr/share/fish/vendor_completions.d/stablehand.fish"},
		{"zsh", "deb", "/usr/share/zsh/vendor-completions/_stablehand"},
		{"zsh", "rpm", "/usr/share/zsh/site-functions/_stablehand"},
		{"zsh", "apk", "/usr/share/zsh/site-functions/_stablehand"},
	} {
		completion, err := ask("completion", c.shell)
		if err != nil {
			return nil, err
		}
		items = append(items, item{to: c.to, only: c.only, content: completion})
	}
	return items, nil
}

// compressed compresses a text, with no time or name in it.
func compressed(text []byte) ([]byte, error) {
	var out bytes.Buffer
	w, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(text); err != nil {
		return nil, err
	}
	err = w.Close()
	return out.Bytes(), err
}

// unitOf is the unit that the example of a service has, with the tests that it passes.
const unitOf = "examples/systemd/app.service"

// unit makes a template of that, for stablehand@NAME: the instance's name takes the place
// of the example's, and gunicorn reads from its configuration what the application is.
func unit() ([]byte, error) {
	text, err := os.ReadFile(unitOf)
	if err != nil {
		return nil, err
	}
	made := string(text)
	for _, change := range []struct{ old, new string }{
		{"# An application under gunicorn, with stablehand as the unit's main process.\n# README.md tells where everything goes.\n",
			"# stablehand@NAME runs the application in /srv/NAME under the gunicorn of /srv/NAME/venv,\n# as user NAME. /etc/NAME/gunicorn.conf.py says how, and by wsgi_app what: a change there\n# is a handoff. What is to be different says systemctl edit stablehand@NAME.\n"},
		{"Description=Application under gunicorn", "Description=%i under gunicorn"},
		{"User=app\n", "User=%i\n"},
		{" app:app\n", "\n"},
		{"/usr/local/bin/", "/usr/bin/"},
		{"/srv/app", "/srv/%i"},
		{"/etc/app", "/etc/%i"},
	} {
		if !strings.Contains(made, change.old) {
			return nil, fmt.Errorf("%s does not say %q any more: the template is made of it", unitOf, change.old)
		}
		made = strings.ReplaceAll(made, change.old, change.new)
	}
	return []byte(made), nil
}
