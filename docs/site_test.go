package docs

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stablehand/stablehand/entrypoint"
)

// site is where make docs builds the pages.
const site = "../.cache/site"

// TestTheSearchFindsEachVariable looks for each in what the site's search has, as a
// part of the page of variables whose title is its name. It is about a site that was
// built since the pages were written.
func TestTheSearchFindsEachVariable(t *testing.T) {
	built, err := os.Stat(filepath.Join(site, "search/search_index.json"))
	if err != nil {
		t.Skip("the pages are not built as a site: make docs does it")
	}
	for _, page := range pages(t) {
		if info, err := os.Stat(page); err != nil || info.ModTime().After(built.ModTime()) {
			t.Skip("the site is older than the pages: make docs builds it")
		}
	}
	var index struct {
		Docs []struct{ Location, Title, Text string }
	}
	if err := json.Unmarshal([]byte(read(t, filepath.Join(site, "search/search_index.json"))), &index); err != nil {
		t.Fatal(err)
	}
	page := read(t, filepath.Join(site, "docs/reference/environment/index.html"))
	c, _ := entrypoint.ReadConfig(nil)
	for _, v := range c.Variables() {
		id := strings.ToLower(v.Name)
		found := false
		for _, part := range index.Docs {
			found = found || part.Title == v.Name && part.Text != "" && part.Location == "docs/reference/environment/#"+id
		}
		if !found || !strings.Contains(page, `id="`+id+`"`) {
			t.Errorf("the search does not find %s", v.Name)
		}
	}
}

// TestTheSiteAsksNobodyElse looks for what a page of the site would load from elsewhere.
func TestTheSiteAsksNobodyElse(t *testing.T) {
	pages := 0
	err := filepath.WalkDir(site, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".html" {
			return err
		}
		pages++
		text := read(t, path)
		for _, loads := range []string{`src="http`, `src="//`, `rel="stylesheet" href="http`, `rel="preconnect"`} {
			if strings.Contains(text, loads) {
				t.Errorf("%s has %s", path, loads)
			}
		}
		return nil
	})
	if os.IsNotExist(err) {
		t.Skip("the pages are not built as a site: make docs does it")
	}
	if err != nil || pages < 30 {
		t.Errorf("only %d pages were looked at: %v", pages, err)
	}
}
