package watch

import (
	"os"
	"strings"
	"testing"
	"time"
)

// written is what was seen to be written since some time: each path, and after an
// arrow where its name was new since then.
func (s *stage) written(since time.Time) string {
	s.Helper()
	s.rest(s.Watcher)
	var list []string
	for _, f := range s.Written(since) {
		text := f.Path
		if f.Came.After(since) {
			text += " -> " + f.In
		}
		list = append(list, text)
	}
	return strings.ReplaceAll(strings.Join(list, ", "), s.dir+"/", "")
}

func TestNamesThatAreNewAreKnownByWhereTheyAre(t *testing.T) {
	type step struct {
		what string
		do   func(s *stage)
		want string
	}
	for name, test := range map[string]struct {
		paths []string
		steps []step
	}{
		"of files": {[]string{"d"}, []step{
			{"a save", func(s *stage) { s.write("d/a", "2") }, "d/a"},
			{"a new file", func(s *stage) { s.write("d/b", "1") }, "d/b -> d"},
			{"a save of that", func(s *stage) { s.write("d/b", "2") }, "d/b"},
			{"both", func(s *stage) { s.write("d/a", "3"); s.write("d/c", "1") }, "d/a, d/c -> d"},
			{"one that comes back", func(s *stage) {
				s.remove("d/a")
				s.rest(s.Watcher)
				s.write("d/a", "4")
			}, "d/a"},
			{"a save by a temporary file that is seen", func(s *stage) {
				s.write("d/sedXYZ", "5")
				s.rest(s.Watcher)
				s.rename("d/sedXYZ", "d/a")
			}, "d/a"},
			{"a rename", func(s *stage) { s.rename("d/c", "d/e") }, "d/e -> d"},
		}},
		"of directories": {[]string{"d"}, []step{
			{"a new one", func(s *stage) { s.mkdir("d/x/y"); s.write("d/x/y/a", "1") }, "d/x/y/a -> d"},
			{"a file in that", func(s *stage) { s.write("d/x/y/b", "1") }, "d/x/y/b -> d/x/y"},
			{"one that is made anew", func(s *stage) {
				s.remove("d/x")
				s.rest(s.Watcher)
				s.mkdir("d/x/y")
				s.write("d/x/y/a", "2")
			}, "d/x/y/a"},
		}},
		"of a glob": {[]string{"d/*.db"}, []step{
			{"a new one", func(s *stage) { s.write("d/1.db", "1") }, "d/1.db -> d/*.db"},
			{"another", func(s *stage) { s.write("d/2.db", "1") }, "d/2.db -> d/*.db"},
			{"a save", func(s *stage) { s.write("d/1.db", "2") }, "d/1.db"},
			{"one that comes back", func(s *stage) {
				s.remove("d/1.db")
				s.rest(s.Watcher)
				s.write("d/1.db", "3")
			}, "d/1.db"},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t)
			s.mkdir("d")
			s.write("d/a", "1")
			s.watch(Options{Paths: test.paths})
			go func() {
				for range s.Changes() {
				}
			}()
			for _, step := range test.steps {
				s.rest(s.Watcher)
				time.Sleep(tick) // the kernel's clock for files
				began := time.Now()
				step.do(s)
				if got := s.written(began); got != step.want {
					t.Errorf("%s: written: %s, want %s", step.what, got, step.want)
				}
			}
		})
	}
}

func TestWhatIsLeftOutIsNoContent(t *testing.T) {
	s := newStage(t)
	s.mkdir("d/below")
	s.write("d/a", "1")
	s.mkdir("run")
	s.link(s.path("d"), "run/link")
	leave := []string{s.path("gone/other"), s.path("run/link") + "/" + Literal("p[id")}
	leave = append(leave, leave[1]+".*")
	s.watch(Options{Paths: []string{"d", "d/*"}, LeaveOut: leave})
	first, moves := s.rest(s.Watcher)
	for _, name := range []string{"d/p[id", "d/p[id.tmp1"} {
		s.write(name, "1")
		if content, now := s.rest(s.Watcher); content != first || now != moves {
			t.Errorf("%s: another content: %v; moves %d, %d before", name, content != first, now, moves)
		}
	}
	s.must(os.Rename(s.path("d/p[id.tmp1"), s.path("d/p[id")))
	s.remove("d/p[id")
	if content, now := s.rest(s.Watcher); content != first || now != moves {
		t.Errorf("another content: %v; moves %d, %d before", content != first, now, moves)
	}
	s.expect()
	s.write("d/below/p[id", "1") // is another one
	s.expect("d d/*")
	s.write("d/p[id2", "1")
	s.expect("d d/*")
}
