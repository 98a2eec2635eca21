// Package wheel packs the program for pip: the binary itself is what pip puts on PATH,
// with no Python in front of it.
//
// A wheel is a zip file with a few small texts beside the binary ("Binary distribution
// format" in the Python packaging user guide). So it is written here. A build backend such
// as hatchling would bring a Python and an index to what needs neither, a hook for the
// tags, and archives that are to be held against the same bytes each time.
package wheel

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// Wheel is what one consists of. The same makes the same bytes.
type Wheel struct {
	Version string    // as Python writes it: 1.2.3, or 1.2.3rc4
	Tags    []string  // the platforms that it is for, such as manylinux2014_x86_64
	Time    time.Time // of all files in it
	Home    string    // the URL of the project
	Tree    string    // the URL of its files, of that version
	Binary  []byte
	License []byte
	BOM     []byte // the bill of materials, in CycloneDX's JSON; nil where there is none
}

func (w Wheel) name() string { return "stablehand-" + w.Version }

// File is the file's name, which pip goes by.
func (w Wheel) File() string { return w.name() + "-py3-none-" + strings.Join(w.Tags, ".") + ".whl" }

// Pack returns the file's content.
func (w Wheel) Pack() ([]byte, error) {
	a := newArchive(w.Time)
	info := w.name() + ".dist-info/"
	a.add(w.name()+".data/scripts/stablehand", 0o755, w.Binary)
	a.add(info+"METADATA", 0o644, w.metadata())
	a.add(info+"WHEEL", 0o644, w.tags())
	a.add(info+"licenses/LICENSE", 0o644, w.License)
	if w.BOM != nil {
		a.add(info+"sboms/stablehand.cdx.json", 0o644, w.BOM)
	}
	return a.close(info + "RECORD")
}

// metadata is what an index and pip show. It names no version of Python: none runs it.
func (w Wheel) metadata() []byte {
	return fmt.Appendf(nil, `Metadata-Version: 2.4
Name: stablehand
Version: %s
Summary: A container's PID 1 for gunicorn, which hands over to a new gunicorn when its files change
Project-URL: Homepage, %s
Project-URL: Changelog, %[3]s/CHANGELOG.md
License-Expression: MIT
License-File: LICENSE
Keywords: gunicorn,init,pid1,container,reload,wsgi,asgi
Classifier: Environment :: Console
Classifier: Operating System :: POSIX :: Linux
Classifier: Topic :: Internet :: WWW/HTTP :: WSGI :: Server
Description-Content-Type: text/markdown

stablehand is a container's PID 1 for gunicorn. It starts gunicorn, reaps zombies, forwards
signals, and when a watched file changes it hands over to a new gunicorn without a refused
request; a broken change is rolled back.

    ENTRYPOINT ["stablehand"]
    CMD ["app:app"]

This package is the program itself, one static binary for Linux, and no Python.
Its [README](%[3]s/README.md) tells the rest.
`, w.Version, w.Home, w.Tree)
}

// tags says what the wheel is for.
func (w Wheel) tags() []byte {
	text := []byte("Wheel-Version: 1.0\nGenerator: stablehand\nRoot-Is-Purelib: false\n")
	for _, tag := range w.Tags {
		text = fmt.Appendf(text, "Tag: py3-none-%s\n", tag)
	}
	return text
}

// archive is a zip file that is being written, and the record of what is in it. The first
// error stays.
type archive struct {
	time   time.Time
	file   bytes.Buffer
	zip    *zip.Writer
	record bytes.Buffer
	err    error
}

func newArchive(at time.Time) *archive {
	a := &archive{time: at}
	a.zip = zip.NewWriter(&a.file)
	a.zip.RegisterCompressor(zip.Deflate, func(out io.Writer) (io.WriteCloser, error) {
		return flate.NewWriter(out, flate.BestCompression)
	})
	return a
}

// add adds a file, and its line to the record.
func (a *archive) add(name string, mode os.FileMode, content []byte) {
	a.write(name, mode, content)
	digest := sha256.Sum256(content)
	fmt.Fprintf(&a.record, "%s,sha256=%s,%d\n", name, base64.RawURLEncoding.EncodeToString(digest[:]), len(content))
}

func (a *archive) write(name string, mode os.FileMode, content []byte) {
	header := &zip.FileHeader{Name: name, Method: zip.Deflate, Modified: a.time}
	header.SetMode(mode)
	out, err := a.zip.CreateHeader(header)
	if err == nil {
		_, err = out.Write(content)
	}
	if a.err == nil {
		a.err = err
	}
}

// close writes the record last, in which it stands itself without a digest.
func (a *archive) close(record string) ([]byte, error) {
	fmt.Fprintf(&a.record, "%s,,\n", record)
	a.write(record, 0o644, a.record.Bytes())
	if a.err != nil {
		return nil, a.err
	}
	err := a.zip.Close()
	return a.file.Bytes(), err
}
