// Package kubernetes shows with Kubernetes' own code what stablehand promises
// of a pod: the manifests of examples/kubernetes are decoded into the API's
// types and checked for Pod Security, and a container that is run as they say
// serves from a volume that the kubelet's own AtomicWriter writes. No API server
// and no kubelet is run for these: package cluster has them.
//
// It is a module of its own to keep Kubernetes out of stablehand's go.mod.
package kubernetes

import (
	"os"

	"k8s.io/kubernetes/pkg/volume/util"
)

// fileMode is the defaultMode of ConfigMap and Secret volumes.
const fileMode = 0o644

// WriteVolume writes a ConfigMap's or Secret's data to the directory of its
// volume, which is made if it is not there. Where the data is what the volume
// has already, as at most of the kubelet's regular syncs, nothing is written.
func WriteVolume(dir string, data map[string][]byte) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	writer, err := util.NewAtomicWriter(dir, dir)
	if err != nil {
		return err
	}
	files := map[string]util.FileProjection{}
	for name, text := range data {
		files[name] = util.FileProjection{Data: text, Mode: fileMode}
	}
	return writer.Write(files, nil)
}
