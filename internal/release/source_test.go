package main

import (
	"os"
	"strings"
	"testing"
)

// TestWhatIsNoReleaseIsRefused tries a repository of its own with one commit.
func TestWhatIsNoReleaseIsRefused(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv("GIT_CONFIG_GLOBAL", "/dev/null")
	t.Setenv("GIT_CEILING_DIRECTORIES", "/")
	refuses := func(version, why string) {
		t.Helper()
		if _, err := readSource(version); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: got %v, want %q", version, err, why)
		}
	}
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	commit := func() {
		t.Helper()
		must(t, "", "git", "add", "--all")
		must(t, "", "git", "-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "--quiet", "--message=a")
	}
	for _, version := range []string{"", "1.0.0", "v1.0", "v01.0.0", "v1.0.0-beta", "v1.0.0-rc.0", "v1.0.0 "} {
		refuses(version, "should be v1.2.3")
	}
	refuses("v1.0.0", "from a checkout with git")
	must(t, "", "git", "init", "--quiet")
	write("CHANGELOG.md", "# Changelog\n\n## Unreleased\n\n## 0.9.0 - 2026-01-02\n\n## 1.0.0 - soon\n")
	commit()
	refuses("v1.0.0", `no heading "## 1.0.0 - "`)
	if _, err := readSource("v0.9.0"); err != nil {
		t.Error(err)
	}
	must(t, "", "git", "tag", "v0.9.0")
	write("other", "")
	commit()
	refuses("v0.9.0", "check out the tag")
	must(t, "", "git", "checkout", "--quiet", "v0.9.0")
	if _, err := readSource("v0.9.0"); err != nil {
		t.Error(err)
	}
	write("CHANGELOG.md", "# Changelog\n\n## 0.9.0 - 2026-01-02\n")
	refuses("v0.9.0", "files have been changed or added since commit")
	must(t, "", "git", "checkout", "--quiet", "CHANGELOG.md")
	write("added", "")
	refuses("v0.9.0", "files have been changed or added since commit")
	from, err := readSource("v1.0.0-rc.1")
	if err != nil || !strings.HasSuffix(from.commit, dirty) {
		t.Errorf("a candidate: got %+v, %v", from, err)
	}
}

func TestTheSchemaIsOfWhatIsAnswered(t *testing.T) {
	t.Chdir("../..")
	want, err := schema()
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("%s is not what package status says: `make schema` makes it anew", schemaFile)
	}
}

func TestTheWorkflowIsSound(t *testing.T) {
	must(t, "", "go", "tool", "actionlint", "../../.github/workflows/ci.yml")
}
