package entrypoint

import (
	"bytes"
	"fmt"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stablehand/stablehand/entrypoint/watch"
)

func TestWhatIsWatchedIsSaid(t *testing.T) {
	const advice = ` do="watch less, or add %s to STABLEHAND_WATCH_IGNORE, whose value replaces the default"`
	for name, test := range map[string]struct {
		c     Config
		begun watch.Begun
		want  string
	}{
		"nothing": {Config{}, watch.Begun{},
			`INF nothing is watched: reload, HUP and USR2 alone begin a handoff do="set STABLEHAND_WATCH to the files, directories or globs whose changes are to begin one"` + "\n"},
		"paths": {Config{Watch: []string{"/etc/app", "*.py"}, EnvFile: []string{"/run/env[1]"}}, watch.Begun{Files: 3, Mounts: []string{"/", "/etc/app"}},
			"INF watching paths=/etc/app,*.py,/run/env[1] files=3 mounts=/,/etc/app\n"},
		"what is better not": {Config{Watch: []string{"."}},
			watch.Begun{Files: 9, Mounts: []string{"/"}, Kinds: map[string]string{watchedLog: "app.log", watchedDatabase: "db.sqlite3", watchedEnvironment: ".venv/pyvenv.cfg"}},
			"INF watching paths=. files=9 mounts=/\n" +
				"WRN a database is watched: what the application writes begins a handoff path=db.sqlite3" + fmt.Sprintf(advice, "*.sqlite3*") + "\n" +
				"WRN a log is watched: each line that is written begins a handoff path=app.log" + fmt.Sprintf(advice, "*.log*") + "\n" +
				"WRN a virtual environment is watched: each package that is installed begins a handoff, while it is half installed, too path=.venv/pyvenv.cfg" + fmt.Sprintf(advice, ".venv") + "\n"},
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			test.c.LogFormat = "tint"
			sayWatched(test.c, test.begun, NewLog(test.c, &log, false))
			got := tinted.ReplaceAllString(log.String(), "")
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// tinted is the time of a line that tint has written.
var tinted = regexp.MustCompile(`(?m)^[\d:.]+ `)

func TestKindsOfFilesThatAreSeldomMeant(t *testing.T) {
	for name, want := range map[string]string{
		"/srv/.venv/pyvenv.cfg":                     watchedEnvironment,
		"lib/python3.11/site-packages/x/y.py":       watchedEnvironment,
		"db.sqlite3":                                watchedDatabase,
		"data/app.db-wal":                           watchedDatabase,
		"var/gunicorn.log":                          watchedLog,
		"app.py":                                    "",
		"log.conf":                                  "",
		"templates/site-packages.html":              "",
		"/etc/app/..2024_05_01/database.yml":        "",
		"settings/logging.json":                     "",
		"static/catalog":                            "",
		"/var/lib/postgresql/data/pg_wal/000000010": "",
	} {
		if got := kindOf(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func TestWhatIsToBeIgnoredIsNamed(t *testing.T) {
	for name, want := range map[string]string{
		"/srv/.venv/pyvenv.cfg":                          ".venv",
		"/srv/.venv/lib/python3.11/site-packages/x/y.py": ".venv",
		"data/app.db-wal":                                "*.db*",
		"var/gunicorn.log":                               "*.log*",
	} {
		if got := ignorable(name); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

func TestAFewFilesOfAChangeAreShown(t *testing.T) {
	c := watch.Change{Paths: []string{"d"}, Files: []watch.File{{Name: "d/a"}, {Name: "d/b", Gone: true}}}
	if diff := cmp.Diff([]string{"d/a", "d/b (gone)"}, changed(c).Files); diff != "" {
		t.Error(diff)
	}
	for i := range 2 * shownFiles {
		c.Files = append(c.Files, watch.File{Name: fmt.Sprint("d/", i)})
	}
	files := changed(c).Files
	if got := files[len(files)-1]; len(files) != shownFiles+1 || got != "and 12 more" {
		t.Errorf("%d, the last %s", len(files), got)
	}
	c.More = true
	if got := changed(c).Files[shownFiles]; got != "and many more" {
		t.Error(got)
	}
}
