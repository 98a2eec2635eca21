// Command kubelet-volume writes the volume of a ConfigMap or Secret with the
// kubelet's own code:
//
//	kubelet-volume VOLUME DIR
//
// The files of DIR are the keys. VOLUME is the directory that a container would
// mount; it is made if it is not there. To update a key, add one or remove one is
// to call it again with another DIR. With the same content it does what the kubelet
// does at a sync: nothing.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/stablehand/stablehand/internal/kubernetes"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: kubelet-volume VOLUME DIR")
		os.Exit(2)
	}
	data, err := read(os.Args[2])
	if err == nil {
		err = kubernetes.WriteVolume(os.Args[1], data)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "kubelet-volume:", err)
		os.Exit(1)
	}
}

func read(dir string) (map[string][]byte, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	data := map[string][]byte{}
	for _, entry := range entries {
		if data[entry.Name()], err = os.ReadFile(filepath.Join(dir, entry.Name())); err != nil {
			return nil, err
		}
	}
	return data, nil
}
