// Package docs is for what is written: that what it refers to is there.
package docs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	code = regexp.MustCompile("(?ms)^(```.*?^```$|    .*?$)|`[^`\n]*`")
	link = regexp.MustCompile(`\]\(([^)\s]+)\)`)

	// goTest is how a test is named beside the link to its file.
	goTest = regexp.MustCompile(`(Test\w+) in \[[^]]+\]\(([^)\s]+)\)`)
)

// TestLinksLeadSomewhere follows every link to something of ours.
func TestLinksLeadSomewhere(t *testing.T) {
	followed := 0
	for _, page := range pages(t) {
		text := code.ReplaceAllString(read(t, page), "")
		for _, found := range link.FindAllStringSubmatch(text, -1) {
			if strings.Contains(found[1], "://") {
				continue
			}
			followed++
			if err := follow(t, page, found[1]); err != nil {
				t.Errorf("%s: %s: %v", page, found[1], err)
			}
		}
		for _, found := range goTest.FindAllStringSubmatch(text, -1) {
			file := filepath.Join(filepath.Dir(page), found[2])
			if !strings.Contains(read(t, file), "func "+found[1]+"(") {
				t.Errorf("%s: %s has no %s", page, file, found[1])
			}
		}
	}
	if followed < 100 {
		t.Errorf("only %d links were followed", followed)
	}
}

// TestEachRowIsShown looks for rows that claim something without showing it.
func TestEachRowIsShown(t *testing.T) {
	for page, least := range map[string]int{"coming-from-other-tools.md": 50, "facts.md": 30, "side-by-side.md": 10} {
		rows := 0
		lines := strings.Split(read(t, page), "\n")
		for i, line := range lines {
			heading := i+1 < len(lines) && strings.HasPrefix(lines[i+1], "| ---")
			if !strings.HasPrefix(line, "|") || strings.HasPrefix(line, "| ---") || heading {
				continue
			}
			rows++
			cells := strings.Split(strings.Trim(line, "| \n"), " | ")
			last := cells[len(cells)-1]
			if !link.MatchString(last) && last != "the same" && !strings.Contains(line, "not covered") {
				t.Errorf("%s: nothing shows, and it is not said not to be covered: %s", page, line)
			}
		}
		if rows < least {
			t.Errorf("%s: only %d rows were looked at", page, rows)
		}
	}
}

// pages are all files in Markdown, but for those in directories that are hidden,
// as caches and virtual environments are.
func pages(t *testing.T) (found []string) {
	t.Helper()
	err := filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		switch hidden := strings.HasPrefix(entry.Name(), ".") && path != ".."; {
		case err != nil:
			return err
		case hidden && entry.IsDir():
			return fs.SkipDir
		case filepath.Ext(path) == ".md":
			found = append(found, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// follow says why a link of a page leads nowhere.
func follow(t *testing.T, page, to string) error {
	t.Helper()
	path, heading, _ := strings.Cut(to, "#")
	target := page
	if path != "" {
		target = filepath.Join(filepath.Dir(page), path)
	}
	if _, err := os.Stat(target); err != nil {
		return errors.Unwrap(err)
	}
	if heading != "" && !anchors(read(t, target))[heading] {
		return fmt.Errorf("there is no such heading")
	}
	return nil
}

// anchors are what GitHub calls the headings of a page.
func anchors(text string) map[string]bool {
	fenced := regexp.MustCompile("(?ms)^```.*?^```$")
	dropped := regexp.MustCompile(`[^\p{L}\p{N}_ -]`)
	found := map[string]bool{}
	for _, heading := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(fenced.ReplaceAllString(text, ""), -1) {
		name := dropped.ReplaceAllString(strings.ToLower(heading[1]), "")
		found[strings.ReplaceAll(name, " ", "-")] = true
	}
	return found
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
