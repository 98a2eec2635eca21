package main

import (
	"archive/tar"
	"bytes"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// buildImage builds one image for all targets, of the binary alone, for
// COPY --from=. It is written as a layout of the Open Container Initiative's in a tar
// file, which crane, skopeo and podman read.
func buildImage(from source) error {
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, t := range targets {
		image, err := imageFor(from, t)
		if err != nil {
			return err
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: t.platform()}})
	}
	index = mutate.Annotations(index, labels(from)).(v1.ImageIndex)
	dir, err := os.MkdirTemp("", "release-image-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	path, err := layout.Write(dir, empty.Index)
	if err != nil {
		return err
	}
	named := layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": from.number()})
	if err := path.AppendIndex(index, named); err != nil {
		return err
	}
	file, err := os.Create(filepath.Join(dist, "stablehand-"+from.number()+"-oci.tar"))
	if err != nil {
		return err
	}
	defer file.Close()
	if err := pack(from, file, dir); err != nil {
		return err
	}
	return file.Close()
}

// labels tell what an image is.
func labels(from source) map[string]string {
	const of = "org.opencontainers.image."
	return map[string]string{
		of + "title":       "stablehand",
		of + "description": "A container's PID 1 for gunicorn",
		of + "source":      home,
		of + "licenses":    "MIT",
		of + "version":     from.number(),
		of + "revision":    from.commit,
		of + "created":     from.date(),
	}
}

func (t target) platform() *v1.Platform {
	p := &v1.Platform{OS: "linux", Architecture: t.goarch}
	if t.goarch == "arm" {
		p.Variant = "v7"
	}
	return p
}

// imageFor makes the image for one target.
func imageFor(from source, t target) (v1.Image, error) {
	binary, err := os.ReadFile(t.binary())
	if err != nil {
		return nil, err
	}
	layer, err := layerOf(from, binary)
	if err != nil {
		return nil, err
	}
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	created := v1.Time{Time: from.time}
	image, err = mutate.Append(image, mutate.Addendum{Layer: layer, History: v1.History{Created: created, CreatedBy: "COPY /stablehand"}})
	if err != nil {
		return nil, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config, p := config.DeepCopy(), t.platform()
	config.OS, config.Architecture, config.Variant, config.Created = p.OS, p.Architecture, p.Variant, created
	config.Config.Entrypoint = []string{"/stablehand"}
	config.Config.Labels = labels(from)
	return mutate.ConfigFile(image, config)
}

// layerOf is a layer with the binary alone.
func layerOf(from source, binary []byte) (v1.Layer, error) {
	var files bytes.Buffer
	out := tar.NewWriter(&files)
	header := &tar.Header{Name: "stablehand", Mode: 0o755, Size: int64(len(binary)), ModTime: from.time}
	if err := out.WriteHeader(header); err != nil {
		return nil, err
	}
	if _, err := out.Write(binary); err != nil {
		return nil, err
	}
	if err := out.Close(); err != nil {
		return nil, err
	}
	open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(files.Bytes())), nil }
	return tarball.LayerFromOpener(open, tarball.WithMediaType(types.OCILayer))
}

// pack packs a directory's files, in the order of their names.
func pack(from source, file io.Writer, dir string) error {
	out := tar.NewWriter(file)
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		if err := out.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content)), ModTime: from.time}); err != nil {
			return err
		}
		_, err = out.Write(content)
		return err
	})
	if err != nil {
		return err
	}
	return out.Close()
}
