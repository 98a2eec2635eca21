// Command release builds in dist/ all that a release of stablehand consists of:
//
//	release VERSION   binaries, wheels, packages, an image, what they are made of and
//	                  where they come from, checksums, and with RELEASE_KEY their signature
//	release wheel     a wheel of what is checked out, for this machine
//	release schema    docs/status.schema.json, which says what status --json answers
//
// It is run at the top of the repository, by make. The same commit gives the same bytes
// wherever the same Go builds it: nothing goes in that is not in the commit, the time is
// the commit's, and whatever is packed is in order. docs/release.md tells how a release
// is made and how it is verified.
//
// Nothing but Go and git is needed, and ssh-keygen to sign. Its libraries are many; so it
// is a module of its own, and the program's go.mod stays small.
package main

import (
	"errors"
	"fmt"
	"os"
)

// dist is where everything is built. What was there before is removed.
const dist = "dist"

const usage = "usage: release VERSION | wheel | schema"

func main() {
	err := errors.New(usage)
	switch words := os.Args[1:]; {
	case len(words) == 1 && words[0] == "schema":
		err = writeSchema()
	case len(words) == 1 && words[0] == "wheel":
		err = wheelToTry()
	case len(words) == 1:
		err = release(words[0])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

// release builds everything of a version.
func release(version string) error {
	from, err := readSource(version)
	if err != nil {
		return err
	}
	if err := build(from, buildBinaries, writeBOM, buildWheels, buildPackages, buildImage, copySchema, writeProvenance, writeSums); err != nil {
		return err
	}
	if key := os.Getenv("RELEASE_KEY"); key != "" {
		return sign(key)
	}
	fmt.Fprintln(os.Stderr, "release: not signed: RELEASE_KEY names no key")
	return nil
}

// wheelToTry builds what pip takes where no version has been published: a candidate of
// none.
func wheelToTry() error {
	from, err := readSource("v0.0.0-rc.1")
	if err != nil {
		return err
	}
	here, err := thisMachine()
	if err != nil {
		return err
	}
	targets = []target{here}
	return build(from, buildBinaries, writeBOM, buildWheels)
}

// build has dist hold what some steps build, one after the other, and nothing else.
func build(from source, steps ...func(source) error) error {
	if err := os.RemoveAll(dist); err != nil {
		return err
	}
	if err := os.Mkdir(dist, 0o755); err != nil {
		return err
	}
	for _, step := range steps {
		if err := step(from); err != nil {
			return err
		}
	}
	return nil
}
