package main

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/goreleaser/nfpm/v2"

	"github.com/stablehand/stablehand/internal/docker"
)

// packaged is what the packages of each target say that they are for.
var packaged = map[string]struct{ deb, rpm, apk string }{
	"amd64":   {"amd64", "x86_64", "x86_64"},
	"arm64":   {"arm64", "aarch64", "aarch64"},
	"armv7":   {"armhf", "armv7hl", "armv7"},
	"ppc64le": {"ppc64el", "ppc64le", "ppc64le"},
	"riscv64": {"riscv64", "riscv64", "riscv64"},
	"s390x":   {"s390x", "s390x", "s390x"},
}

// inAll are the files that each package has.
var inAll = []string{
	"/usr/bin/stablehand",
	"/usr/lib/systemd/system/stablehand@.service",
	"/usr/share/bash-completion/completions/stablehand",
	"/usr/share/fish/vendor_completions.d/stablehand.fish",
	"/usr/share/man/man1/stablehand.1.gz",
}

// GitHub replaces other characters in the names of a release's files.
func TestACandidatesPackagesHaveNamesThatGitHubKeeps(t *testing.T) {
	for kind, want := range map[string]string{
		"deb": "stablehand_1.0.0.rc1_amd64.deb", "rpm": "stablehand-1.0.0.rc1-1.x86_64.rpm", "apk": "stablehand_1.0.0_rc1_x86_64.apk",
	} {
		packager, err := nfpm.Get(kind)
		if err != nil {
			t.Fatal(err)
		}
		info := nfpm.WithDefaults(&nfpm.Info{Name: "stablehand", Version: "1.0.0-rc1", Arch: "amd64"})
		if got := fileName(packager, info); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

// whatDpkgDoes is what a user of Debian would type.
const whatDpkgDoes = `set -eu
dpkg --install /dist/stablehand_1.0.0_$(dpkg --print-architecture).deb >/dev/null
command -v stablehand
stablehand version
test -z "$(dpkg --verify stablehand)"
bash -n /usr/share/bash-completion/completions/stablehand
gzip --test /usr/share/man/man1/stablehand.1.gz
code=0; stablehand sh -c 'exit 7' 2>/dev/null || code=$?
echo exit code $code
dpkg --remove stablehand >/dev/null
! test -e /usr/bin/stablehand
! test -e /usr/lib/systemd/system/stablehand@.service
dpkg --purge stablehand
echo removed
`

// inACopy runs a script in a copy of this system, $1, which ends with it and has the
// release, $2, as /dist.
const inACopy = `set -eu
mount -t tmpfs tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" overlay "$1/root"
mkdir "$1/root/dist"
mount --rbind /proc "$1/root/proc"
mount --bind "$2" "$1/root/dist"
mount --rbind /dev "$1/root/dev"
exec chroot "$1/root" bash -c "$3"
`

func TestDpkgInstallsRunsAndRemovesIt(t *testing.T) {
	t.Parallel()
	dist := built(t)
	for name, do := range map[string]func(t *testing.T) string{
		"in a copy of this system": func(t *testing.T) string {
			needs(t, "dpkg", "dpkg")
			needs(t, "unshare", "util-linux")
			if os.Getuid() != 0 {
				t.Skip("only root can install one")
			}
			if _, err := run("", nil, "unshare", "--mount", "--", "true"); err != nil {
				t.Skip(err)
			}
			return must(t, "", "unshare", "--mount", "--", "sh", "-c", inACopy, "sh", t.TempDir(), dist, whatDpkgDoes)
		},
		"in a container": func(t *testing.T) string {
			e := docker.Shared(t)
			image, err := e.Base(docker.BookwormImage)
			if errors.Is(err, docker.ErrNoBase) {
				t.Skip(err)
			}
			if err != nil {
				t.Fatal(err)
			}
			return docker.MustDo(t, e, "run", "--rm", "--network=none", "--volume="+dist+":/dist:ro", image, "bash", "-c", whatDpkgDoes)
		},
	} {
		t.Run(name, func(t *testing.T) {
			if did, want := do(t), "/usr/bin/stablehand\n"+says(t, version)+"\nexit code 7\nremoved"; did != want {
				t.Errorf("got\n%s\nwant\n%s", did, want)
			}
		})
	}
}

func TestEachDebHasTheSameFiles(t *testing.T) {
	dist := built(t)
	needs(t, "dpkg-deb", "dpkg")
	want := append([]string{"/usr/share/doc/stablehand/copyright", "/usr/share/zsh/vendor-completions/_stablehand"}, inAll...)
	slices.Sort(want)
	for _, target := range targets {
		arch := packaged[target.name].deb
		deb := only(t, dist, "stablehand_1.0.0_"+arch+".deb")
		var has []string
		for line := range strings.Lines(must(t, "", "dpkg-deb", "--contents", deb)) {
			if fields := strings.Fields(line); fields[0][0] == '-' {
				has = append(has, strings.TrimPrefix(fields[5], "."))
			}
		}
		slices.Sort(has)
		if !slices.Equal(has, want) {
			t.Errorf("the package for %s has %q, want %q", arch, has, want)
		}
		if says := must(t, "", "dpkg-deb", "--field", deb, "Architecture"); says != arch {
			t.Errorf("the package for %s says %s", arch, says)
		}
	}
}

func TestRpmReadsAndInstallsIt(t *testing.T) {
	t.Parallel()
	dist := built(t)
	needs(t, "rpm", "rpm")
	want := append([]string{"/usr/share/licenses/stablehand/LICENSE", "/usr/share/zsh/site-functions/_stablehand"}, inAll...)
	slices.Sort(want)
	for _, target := range targets {
		arch := packaged[target.name].rpm
		rpm := only(t, dist, "stablehand-1.0.0-1."+arch+".rpm")
		must(t, "", "rpm", "--checksig", "--nosignature", rpm)
		has := strings.Split(must(t, "", "rpm", "--query", "--list", "--package", "--nosignature", rpm), "\n")
		slices.Sort(has)
		if !slices.Equal(has, want) {
			t.Errorf("the package for %s has %q, want %q", arch, has, want)
		}
	}
	if os.Getuid() != 0 {
		t.Skip("only root can install one")
	}
	root := t.TempDir()
	rpm := only(t, dist, "stablehand-1.0.0-1."+packaged[here(t).name].rpm+".rpm")
	must(t, "", "rpm", "--root", root, "--nosignature", "--nodeps", "--install", rpm)
	must(t, "", "rpm", "--root", root, "--nodeps", "--verify", "stablehand")
	isTheBinary(t, dist, filepath.Join(root, "usr/bin/stablehand"))
	must(t, "", "rpm", "--root", root, "--erase", "stablehand")
	if _, err := os.Stat(filepath.Join(root, "usr/bin/stablehand")); !os.IsNotExist(err) {
		t.Errorf("it was not removed: %v", err)
	}
}

// An apk is three tar files in a row, of which the last has the files. There is no apk
// on Debian to install it with.
func TestEachApkHasTheSameFiles(t *testing.T) {
	t.Parallel()
	dist := built(t)
	want := append([]string{"/usr/share/licenses/stablehand/LICENSE", "/usr/share/zsh/site-functions/_stablehand"}, inAll...)
	slices.Sort(want)
	for _, target := range targets {
		arch := packaged[target.name].apk
		files := readApk(t, only(t, dist, "stablehand_1.0.0_"+arch+".apk"))
		if info := files["/.PKGINFO"]; !strings.Contains(info, "\narch = "+arch+"\n") || !strings.Contains(info, "\npkgver = 1.0.0") {
			t.Errorf("the package for %s says\n%s", arch, info)
		}
		delete(files, "/.PKGINFO")
		var has []string
		for name := range files {
			has = append(has, name)
		}
		slices.Sort(has)
		if !slices.Equal(has, want) {
			t.Errorf("the package for %s has %q, want %q", arch, has, want)
		}
		if binary := files["/usr/bin/stablehand"]; !strings.HasPrefix(binary, "\x7fELF") {
			t.Errorf("the package for %s has no binary", arch)
		}
	}
}

// readApk returns the files of all its parts.
func readApk(t *testing.T, name string) map[string]string {
	t.Helper()
	file, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	unzipped, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for in := tar.NewReader(unzipped); ; {
		header, err := in.Next()
		if err == io.EOF {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(in)
		if err != nil {
			t.Fatal(err)
		}
		if header.Typeflag == tar.TypeReg {
			files["/"+header.Name] = string(content)
		}
	}
}

// TestSystemdUnderstandsTheTemplate has systemd read the unit of an instance, in a root
// with what that names.
func TestSystemdUnderstandsTheTemplate(t *testing.T) {
	dist := built(t)
	needs(t, "systemd-analyze", "systemd")
	needs(t, "dpkg-deb", "dpkg")
	root := t.TempDir()
	must(t, "", "dpkg-deb", "--extract", only(t, dist, "stablehand_1.0.0_"+packaged[here(t).name].deb+".deb"), root)
	unit := filepath.Join(root, "usr/lib/systemd/system/stablehand@.service")
	text, err := os.ReadFile(unit)
	if err != nil {
		t.Fatal(err)
	}
	// The command is looked for on this machine.
	instance := filepath.Join(t.TempDir(), "stablehand@shop.service")
	text = []byte(strings.ReplaceAll(string(text), "/usr/bin/stablehand", root+"/usr/bin/stablehand"))
	if err := os.WriteFile(instance, text, 0o644); err != nil {
		t.Fatal(err)
	}
	if said := must(t, "", "sh", "-c", "systemd-analyze verify --man=no --recursive-errors=no \"$0\" 2>&1", instance); said != "" {
		t.Error(said)
	}
	for _, want := range []string{"User=%i\n", "WorkingDirectory=/srv/%i\n", " /srv/%i/venv/bin/gunicorn --config=/etc/%i/gunicorn.conf.py "} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the unit does not say %q:\n%s", want, text)
		}
	}
}
