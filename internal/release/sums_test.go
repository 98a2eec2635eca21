package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestASignatureIsVerifiedOffline signs with a key of its own, and verifies as
// docs/release.md says.
func TestASignatureIsVerifiedOffline(t *testing.T) {
	needs(t, "ssh-keygen", "openssh-client")
	dir := t.TempDir()
	must(t, "", "cp", "-R", built(t), filepath.Join(dir, dist))
	t.Chdir(dir)
	must(t, "", "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", "key")
	must(t, "", "sh", "-c", "echo stablehand $(cat key.pub) >dist/allowed_signers")
	if err := sign("key"); err != nil {
		t.Fatal(err)
	}
	verify := []string{"sh", "-c", "ssh-keygen -Y verify -f allowed_signers -I stablehand -n file -s SHA256SUMS.sig <SHA256SUMS && sha256sum --check --strict --quiet SHA256SUMS"}
	must(t, dist, verify...)

	binary := filepath.Join(dist, filepath.Base(here(t).binary()))
	for _, file := range []string{sumsFile, sumsFile + ".sig", binary} {
		good, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		bad := append([]byte{}, good...)
		bad[len(bad)/2] ^= 1
		if err := os.WriteFile(file, bad, 0o644); err != nil {
			t.Fatal(err)
		}
		if out, err := run(dist, nil, verify...); err == nil {
			t.Errorf("a changed byte of %s was not seen: %s", file, out)
		}
		if err := os.WriteFile(file, good, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	must(t, dist, verify...)
	must(t, "", "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", "other")
	if err := os.Remove(sumsFile + ".sig"); err != nil {
		t.Fatal(err)
	}
	if err := sign("other"); err != nil {
		t.Fatal(err)
	}
	if out, err := run(dist, nil, verify...); err == nil {
		t.Errorf("another's signature was taken: %s", out)
	}
}

// TestTheProvenanceNamesEveryArtifact holds it against the sums, and the commit.
func TestTheProvenanceNamesEveryArtifact(t *testing.T) {
	dist := built(t)
	file := only(t, dist, "*.provenance.json")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var s statement
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatal(err)
	}
	if s.Type != "https://in-toto.io/Statement/v1" || s.PredicateType != "https://slsa.dev/provenance/v1" {
		t.Errorf("it is a %s with a %s", s.Type, s.PredicateType)
	}
	named := map[string]string{}
	for _, subject := range s.Subject {
		named[subject.Name] = subject.Digest["sha256"]
	}
	for line := range strings.Lines(must(t, dist, "cat", "SHA256SUMS")) {
		sha256, name, _ := strings.Cut(strings.TrimSpace(line), "  ")
		if name != filepath.Base(file) && named[name] != sha256 {
			t.Errorf("of %s it says %q, and the sums say %s", name, named[name], sha256)
		}
		delete(named, name)
	}
	if len(named) > 0 {
		t.Errorf("it names what is not there: %v", named)
	}
	of := s.Predicate.BuildDefinition.ResolvedDependencies
	if want := must(t, made.top, "git", "rev-parse", "HEAD"); len(of) != 1 || of[0].Digest["gitCommit"] != want {
		t.Errorf("it says that it comes of %v, want %s", of, want)
	}
}
