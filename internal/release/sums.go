package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
)

// sumsFile has a line for each artifact, as sha256sum --check reads it.
var sumsFile = filepath.Join(dist, "SHA256SUMS")

// sum is a file of dist and its SHA-256, in hexadecimal.
type sum struct{ name, sha256 string }

// sums are those of all files in dist, by name.
func sums() ([]sum, error) {
	entries, err := os.ReadDir(dist)
	if err != nil {
		return nil, err
	}
	var list []sum
	for _, entry := range entries {
		file, err := os.Open(filepath.Join(dist, entry.Name()))
		if err != nil {
			return nil, err
		}
		digest := sha256.New()
		_, err = io.Copy(digest, file)
		file.Close()
		if err != nil {
			return nil, err
		}
		list = append(list, sum{entry.Name(), hex.EncodeToString(digest.Sum(nil))})
	}
	return list, nil
}

func writeSums(source) error {
	list, err := sums()
	if err != nil {
		return err
	}
	var text bytes.Buffer
	for _, s := range list {
		fmt.Fprintf(&text, "%s  %s\n", s.sha256, s.name)
	}
	return os.WriteFile(sumsFile, text.Bytes(), 0o644)
}

// sign signs the sums, and so all of dist, with an SSH key: whoever verifies it needs
// OpenSSH alone, and no network. The key is a file, of the private key or of the public
// one whose private key an agent holds.
func sign(key string) error {
	out, err := exec.Command("ssh-keygen", "-Y", "sign", "-q", "-n", "file", "-f", key, sumsFile).CombinedOutput()
	if err != nil {
		return fmt.Errorf("signing with RELEASE_KEY %s: %w\n%s", key, err, out)
	}
	return nil
}
