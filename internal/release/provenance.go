package main

import (
	"cmp"
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// home is where the repository is.
const home = "https://github.com/stablehand/stablehand"

// statement is an in-toto attestation, version 1, with SLSA's provenance, version 1.
type statement struct {
	Type          string     `json:"_type"`
	Subject       []resource `json:"subject"`
	PredicateType string     `json:"predicateType"`
	Predicate     provenance `json:"predicate"`
}

type resource struct {
	Name   string            `json:"name,omitempty"`
	URI    string            `json:"uri,omitempty"`
	Digest map[string]string `json:"digest,omitempty"`
}

type provenance struct {
	BuildDefinition struct {
		BuildType            string            `json:"buildType"`
		ExternalParameters   map[string]string `json:"externalParameters"`
		ResolvedDependencies []resource        `json:"resolvedDependencies"`
	} `json:"buildDefinition"`
	RunDetails struct {
		Builder struct {
			ID      string            `json:"id"`
			Version map[string]string `json:"version"`
		} `json:"builder"`
	} `json:"runDetails"`
}

// writeProvenance writes down of which commit everything in dist was built, how and by
// whom, and no time: so it is the same again for the same builder. What makes it be
// believed is the signature of the sums, in which it is.
func writeProvenance(from source) error {
	artifacts, err := sums()
	if err != nil {
		return err
	}
	s := statement{Type: "https://in-toto.io/Statement/v1", PredicateType: "https://slsa.dev/provenance/v1"}
	for _, a := range artifacts {
		s.Subject = append(s.Subject, resource{Name: a.name, Digest: map[string]string{"sha256": a.sha256}})
	}
	build := &s.Predicate.BuildDefinition
	build.BuildType = home + "/blob/" + from.version + "/docs/release.md"
	build.ExternalParameters = map[string]string{"VERSION": from.version}
	source := resource{URI: "git+" + home + "@refs/tags/" + from.version}
	if commit, changed := strings.CutSuffix(from.commit, dirty); !changed {
		source.Digest = map[string]string{"gitCommit": commit}
	}
	build.ResolvedDependencies = []resource{source}
	builder := &s.Predicate.RunDetails.Builder
	builder.ID = builderID()
	builder.Version = map[string]string{"go": runtime.Version()}
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dist, "stablehand-"+from.number()+".provenance.json"), append(text, '\n'), 0o644)
}

// builderID is who builds: GitHub's workflow, by the variables that it is run with, or
// somebody by hand.
func builderID() string {
	if workflow := os.Getenv("GITHUB_WORKFLOW_REF"); workflow != "" {
		return cmp.Or(os.Getenv("GITHUB_SERVER_URL"), "https://github.com") + "/" + workflow
	}
	return home + "/blob/main/docs/release.md#by-hand"
}
