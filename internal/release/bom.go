package main

import (
	"os"
	"path/filepath"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/CycloneDX/cyclonedx-gomod/pkg/generate/bin"
	"github.com/rs/zerolog"
)

// bomFile is the bill of materials of a release.
func bomFile(from source) string {
	return filepath.Join(dist, "stablehand-"+from.number()+".cdx.json")
}

// writeBOM writes down which modules, and which Go, a binary consists of, as that has it
// recorded. It is the same for each target.
func writeBOM(from source) error {
	generator, err := bin.NewGenerator(targets[0].binary(),
		bin.WithVersionOverride(from.version), bin.WithIncludeStdlib(true), bin.WithShortPURLS(true), bin.WithLogger(zerolog.Nop()))
	if err != nil {
		return err
	}
	bom, err := generator.Generate()
	if err != nil {
		return err
	}
	bom.Metadata.Timestamp = from.date()
	bom.Metadata.Properties = nil // of one target's binary
	bom.Metadata.Component.Licenses = &cdx.Licenses{{License: &cdx.License{ID: "MIT"}}}
	file, err := os.Create(bomFile(from))
	if err != nil {
		return err
	}
	defer file.Close()
	if err := cdx.NewBOMEncoder(file, cdx.BOMFileFormatJSON).SetPretty(true).Encode(bom); err != nil {
		return err
	}
	return file.Close()
}
