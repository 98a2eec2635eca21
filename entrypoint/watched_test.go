package entrypoint

import (
	"bytes"
	"fmt"
	"os"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stablehand/stablehand/entrypoint/watch"
)

func TestWhatIsWatchedIsSaid(t *testing.T) {
	const advice = ` do="watch less, or set STABLEHAND_WATCH_IGNORE=*~,.git,%s"`
	for name, test := range map[string]struct {
		c     Config
		begun watch.Begun
		want  string
	}{
		"nothing": {Config{}, watch.Begun{},
			`INF nothing is watched: reload, HUP and USR2 alone begin a handoff do="set STABLEHAND_WATCH to the files, directories or globs whose changes are to begin one"` + "\n"},
		"paths": {Config{Watch: []string{"/etc/app", "*.py"}, EnvFile: []string{"/run/env[1]"}}, watch.Begun{Files: 3, Mounts: []string{"/", "/etc/app"}},
			"INF watching paths=/etc/app,*.py,/run/env[1] files=3 mounts=/,/etc/app\n"},
		"what is better not": {Config{Watch: []string{"."}, WatchIgnore: []string{"*~", ".git"}},
			watch.Begun{Files: 9, Mounts: []string{"/"}, Kinds: map[string]string{watchedLog: "app.log", watchedDatabase: "db.sqlite3", watchedPackages: "venv/lib/python3.12/site-packages/x.py"}},
			"INF watching paths=. files=9 mounts=/\n" +
				"WRN a database is watched: what the application writes begins a handoff path=db.sqlite3" + fmt.Sprintf(advice, "*.sqlite3*") + "\n" +
				"WRN a log is watched: each line that is written begins a handoff path=app.log" + fmt.Sprintf(advice, "*.log*") + "\n" +
				"WRN installed packages are watched: each one that is installed begins a handoff, while it is half installed, too path=venv/lib/python3.12/site-packages/x.py" + fmt.Sprintf(advice, "site-packages") + "\n"},
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
	for _, test := range []struct{ entry, name, want string }{
		{"/srv", "/srv/.venv/pyvenv.cfg", watchedPackages},
		{"/srv/*", "/srv/.venv/pyvenv.cfg", watchedPackages},
		{"/srv/.venv", "/srv/.venv/pyvenv.cfg", ""},
		{".", "lib/python3.11/site-packages/x/y.py", watchedPackages},
		{"/usr/local/lib/python3.12/site-packages/x", "/usr/local/lib/python3.12/site-packages/x/y.py", ""},
		{"lib/python3.12/site-packages", "lib/python3.12/site-packages/x/y.py", ""},
		{"*.sqlite3", "db.sqlite3", ""},
		{"zone.db", "zone.db", ""},
		{".", "zone.db", ""}, // is an entry itself
		{".", "db.sqlite3", watchedDatabase},
		{"data", "data/app.db-wal", watchedDatabase},
		{"./var/", "var/gunicorn.log", watchedLog},
		{"var/*.log", "var/gunicorn.log", ""},
		{".", "app.py", ""},
		{".", "log.conf", ""},
		{".", "templates/site-packages.html", ""},
		{"/etc/app", "/etc/app/..2024_05_01/database.yml", ""},
		{".", "settings/logging.json", ""},
		{".", "static/catalog", ""},
		{"/var", "/var/lib/postgresql/data/pg_wal/000000010", ""},
	} {
		if got := (Config{Watch: []string{test.entry, "./zone.db"}}).seldomMeant(test.entry, test.name); got != test.want {
			t.Errorf("WATCH=%s: %s: %q, want %q", test.entry, test.name, got, test.want)
		}
	}
}

// What is to be ignored is below what is watched: no other name ever is.
func TestWhatIsToBeIgnoredIsNamed(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	if err := os.Mkdir(".venv", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(".venv/pyvenv.cfg", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ entry, name, what, ignore string }{
		{".", ".venv/pyvenv.cfg", watchedEnvironment, ".venv"},
		{dir, dir + "/.venv/lib/python3.11/site-packages/x/y.py", watchedEnvironment, ".venv"},
		{"**/*.py", ".venv/lib/python3.11/site-packages/x/y.py", watchedEnvironment, ".venv"},
		{".venv", ".venv/lib/python3.11/site-packages/x/y.py", watchedEnvironment, "site-packages"},
		{"/usr/local/lib", "/usr/local/lib/python3.12/site-packages/x/y.py", watchedPackages, "site-packages"},
		{"data", "data/app.db-wal", watchedDatabase, "*.db*"},
		{"var", "var/gunicorn.log", watchedLog, "*.log*"},
	} {
		c := Config{Watch: []string{test.entry}}
		if what, ignore := c.ignorable(kindOf(test.name), test.name); what != test.what || ignore != test.ignore {
			t.Errorf("WATCH=%s: %s: %s, %s; want %s, %s", test.entry, test.name, what, ignore, test.what, test.ignore)
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
