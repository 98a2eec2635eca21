package watch

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// changes waits for a report and returns the files in it, as the test knows them.
func (s *stage) changes() string {
	s.Helper()
	select {
	case c := <-s.Changes():
		var names []string
		for _, f := range c.Files {
			name := strings.ReplaceAll(f.Name, s.dir+"/", "")
			if f.Gone {
				name += " gone"
			}
			names = append(names, name)
		}
		if c.More {
			names = append(names, "more")
		}
		return strings.Join(names, ", ")
	case <-time.After(patience):
		s.Fatalf("no report; log:\n%s", s.log.String())
		return ""
	}
}

// put writes a file, and makes its directory.
func (s *stage) put(name, text string) {
	s.Helper()
	s.mkdir(filepath.Dir(name))
	s.write(name, text)
}

// A change names the files that are other than they were, however they were written,
// by the names that lead to them.
func TestAChangeNamesItsFiles(t *testing.T) {
	type step struct {
		what string
		do   func(*stage)
		want string
	}
	for name, test := range map[string]struct {
		paths []string
		build func(*stage)
		steps []step
	}{
		"of a directory": {[]string{"d"}, func(s *stage) { s.put("d/a", "1"); s.put("d/below/b", "1"); s.put("d/c", "1") }, []step{
			{"written", func(s *stage) { s.put("d/a", "2") }, "d/a"},
			{"new", func(s *stage) { s.put("d/below/new", "1") }, "d/below/new"},
			{"gone", func(s *stage) { s.remove("d/c") }, "d/c gone"},
			{"renamed", func(s *stage) { s.rename("d/below/b", "d/b") }, "d/b, d/below/b gone"},
			{"replaced", func(s *stage) { s.put("e", "3"); s.rename("e", "d/a") }, "d/a"},
			{"two, and one that is written back", func(s *stage) { s.put("d/a", "4"); s.put("d/b", "2"); s.put("d/b", "1"); s.put("d/z", "1") }, "d/a, d/z"},
			{"a directory", func(s *stage) { s.put("d/x/y/z", "1"); s.put("d/x/z", "1") }, "d/x/y/z, d/x/z"},
			{"a directory that is renamed", func(s *stage) { s.rename("d/x", "d/w") }, "d/w/y/z, d/w/z, d/x/y/z gone, d/x/z gone"},
			{"two that change places", func(s *stage) {
				s.put("d/v/z", "2")
				s.rename("d/w", "d/u")
				s.rename("d/v", "d/w")
			}, "d/u/y/z, d/u/z, d/w/y/z gone, d/w/z"},
			{"one that is renamed over what another was", func(s *stage) {
				s.rename("d/w", "d/t")
				s.rename("d/u", "d/w")
			}, "d/t/z, d/u/y/z gone, d/u/z gone, d/w/y/z, d/w/z"},
			{"one that is emptied", func(s *stage) { s.remove("d/t/z") }, "d/t/z gone"},
			{"one that is removed", func(s *stage) { s.remove("d/w") }, "d/w/y/z gone, d/w/z gone"},
		}},
		"of a file": {[]string{"d/a"}, func(s *stage) { s.put("d/a", "1") }, []step{
			{"written", func(s *stage) { s.put("d/a", "2") }, "d/a"},
			{"replaced", func(s *stage) { s.put("d/b", "3"); s.rename("d/b", "d/a") }, "d/a"},
		}},
		"of a glob": {[]string{"d/*.conf", "d/none*"}, func(s *stage) { s.put("d/a.conf", "1"); s.put("d/b.conf", "1"); s.put("d/c.conf/in", "1") }, []step{
			{"written", func(s *stage) { s.put("d/a.conf", "2") }, "d/a.conf"},
			{"new", func(s *stage) { s.put("d/d.conf", "1") }, "d/d.conf"},
			{"gone", func(s *stage) { s.remove("d/a.conf") }, "d/a.conf gone"},
			{"in a directory", func(s *stage) { s.put("d/c.conf/in", "2") }, "d/c.conf/in"},
			{"the first", func(s *stage) { s.put("d/none1", "2") }, "d/none1"},
		}},
		"of a volume of Kubernetes": {[]string{"v", "v/b"}, func(s *stage) {
			s.put("v/..1/a", "1")
			s.put("v/..1/b", "1")
			s.link("..1", "v/..data")
			s.link("..data/a", "v/a")
			s.link("..data/b", "v/b")
		}, []step{
			{"swapped", func(s *stage) {
				s.put("v/..2/a", "2")
				s.put("v/..2/b", "1")
				s.link("..2", "v/..data_tmp")
				s.rename("v/..data_tmp", "v/..data")
				s.remove("v/..1")
			}, "v/a"},
		}},
		"of a tree that is swapped": {[]string{"live"}, func(s *stage) {
			s.put("1/app.py", "1")
			s.put("1/pkg/a.py", "1")
			s.put("1/pkg/b.py", "1")
			s.link("1", "live")
		}, []step{
			{"swapped", func(s *stage) {
				s.put("2/app.py", "1")
				s.put("2/pkg/a.py", "2")
				s.put("2/pkg/c.py", "1")
				s.link("2", "next")
				s.rename("next", "live")
			}, "live/pkg/a.py, live/pkg/b.py gone, live/pkg/c.py"},
			{"swapped back", func(s *stage) { s.link("1", "next"); s.rename("next", "live") },
				"live/pkg/a.py, live/pkg/b.py, live/pkg/c.py gone"},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t)
			test.build(s)
			s.watch(Options{Paths: test.paths})
			for _, step := range test.steps {
				time.Sleep(tick) // the kernel's clock for files
				step.do(s)
				if got := s.changes(); got != step.want {
					t.Errorf("%s: %s, want %s", step.what, got, step.want)
				}
			}
		})
	}
}

// However many they are, they take no more than so much memory and room.
func TestAChangeOfManyFilesNamesSome(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.mkdir("d")
	s.watch(Options{Paths: []string{"d"}})
	s.mkdir("e")
	for i := range 2 * maxChanged {
		s.put(fmt.Sprintf("e/%03d", i), "1")
	}
	s.rename("e", "d/e")
	got := s.changes()
	if n := strings.Count(got, "d/e/"); n != maxChanged || !strings.HasSuffix(got, ", more") {
		t.Errorf("%d files: %s", n, got)
	}
}

// The first look tells how much there is, where, and of what kind.
func TestTheFirstLookTellsWhatThereIs(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.put("d/a.py", "1")
	s.put("d/below/b.log", "1")
	s.put("d/below/c.log", "1")
	s.put("e.py", "1")
	s.put("f.log", "1")
	s.watch(Options{
		Paths: []string{"d", "*.py", "f*", "none"},
		Kind: func(of, name string) string {
			if strings.HasSuffix(name, ".log") {
				return "log of " + of
			}
			return ""
		},
	})
	s.put("d/later.log", "1")
	s.changes()
	want := Begun{Files: 5, Mounts: []string{mountPoint(s.dir)}, Kinds: map[string]string{"log of " + s.path("d"): s.path("d/below/b.log"), "log of " + s.path("f*"): s.path("f.log")}}
	got := s.Begun()
	got.Mounts = got.Mounts[:min(len(got.Mounts), 1)] // the marker may be elsewhere
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
