package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/stablehand/stablehand/internal/wheel"
)

// buildWheels builds one for each target.
func buildWheels(from source) error {
	license, err := os.ReadFile("LICENSE")
	if err != nil {
		return err
	}
	bom, err := os.ReadFile(bomFile(from))
	if err != nil {
		return err
	}
	for _, t := range targets {
		binary, err := os.ReadFile(t.binary())
		if err != nil {
			return err
		}
		w := wheel.Wheel{
			Version: from.pythonVersion(), Tags: t.tags(), Time: from.time,
			Home: home, Tree: home + "/blob/" + from.version,
			Binary: binary, License: license, BOM: bom,
		}
		content, err := w.Pack()
		if err != nil {
			return err
		}
		file := filepath.Join(dist, w.File())
		if err := os.WriteFile(file, content, 0o644); err != nil {
			return err
		}
		fmt.Println(file)
	}
	return nil
}

// pythonVersion is a version as Python writes it.
func (s source) pythonVersion() string { return strings.Replace(s.number(), "-rc.", "rc", 1) }

// tags are the platforms of Python's that a target's wheel is for.
func (t target) tags() (tags []string) {
	for _, system := range t.wheels {
		tags = append(tags, system+"_"+t.linux)
	}
	return tags
}
