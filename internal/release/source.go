package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// dirty is behind a commit where files have been changed or added since.
const dirty = "-dirty"

// source is what a release is built from.
type source struct {
	version string // v1.2.3, or v1.2.3-rc.4
	commit  string // in full, and dirty
	time    time.Time
}

var versions = regexp.MustCompile(`^v(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-rc\.[1-9]\d*)?$`)

// readSource reads what is checked out. A version is refused that is not what git and
// the changelog say: it is a promise. A candidate is for trying, and may come of anything.
func readSource(version string) (from source, err error) {
	if !versions.MatchString(version) {
		return from, fmt.Errorf("VERSION is %q, and should be v1.2.3, or v1.2.3-rc.4 for a candidate", version)
	}
	from.version = version
	if from.commit, err = git("rev-parse", "HEAD"); err != nil {
		return from, err
	}
	changed, err := git("status", "--porcelain")
	if err != nil {
		return from, err
	}
	if changed != "" {
		from.commit += dirty
	}
	seconds, err := git("log", "-1", "--format=%ct")
	if err != nil {
		return from, err
	}
	unix, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return from, err
	}
	from.time = time.Unix(unix, 0).UTC()
	if from.candidate() {
		return from, nil
	}
	changes, err := os.ReadFile("CHANGELOG.md")
	if err != nil {
		return from, err
	}
	return from, errors.Join(from.isCommitted(), from.isTagged(), from.isIn(string(changes)))
}

// candidate says whether this is a version for trying.
func (s source) candidate() bool { return strings.Contains(s.version, "-") }

// number is the version without its v, as file names and packages have it.
func (s source) number() string { return strings.TrimPrefix(s.version, "v") }

// date is that of the commit, in RFC 3339.
func (s source) date() string { return s.time.Format(time.RFC3339) }

func (s source) isCommitted() error {
	if commit, yes := strings.CutSuffix(s.commit, dirty); yes {
		return fmt.Errorf("files have been changed or added since commit %s: commit them, or build a candidate (VERSION=%s-rc.1)", commit, s.version)
	}
	return nil
}

// isTagged looks at the version's tag, where there is one already.
func (s source) isTagged() error {
	tagged, err := git("rev-parse", "--verify", "--quiet", "refs/tags/"+s.version+"^{commit}")
	if err == nil && tagged != strings.TrimSuffix(s.commit, dirty) {
		return fmt.Errorf("the tag %s is at commit %s, and %s is checked out: check out the tag", s.version, tagged, s.commit)
	}
	return nil
}

// isIn looks for the version's heading in a changelog.
func (s source) isIn(changes string) error {
	heading := "## " + s.number() + " - "
	for line := range strings.Lines(changes) {
		if day, ok := strings.CutPrefix(line, heading); ok {
			if _, err := time.Parse(time.DateOnly, strings.TrimSpace(day)); err == nil {
				return nil
			}
		}
	}
	return fmt.Errorf("CHANGELOG.md has no heading %q with the day of the release, as 2026-01-02: put it below Unreleased", heading)
}

// git returns what a git command has printed.
func git(words ...string) (string, error) {
	out, err := exec.Command("git", words...).Output()
	if err != nil {
		said := ""
		if exit := new(exec.ExitError); errors.As(err, &exit) {
			said = ": " + strings.TrimSpace(string(exit.Stderr))
		}
		return "", fmt.Errorf("a release is built from a checkout with git: git %s: %w%s", words[0], err, said)
	}
	return strings.TrimSpace(string(out)), nil
}
