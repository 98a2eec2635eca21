package watch

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// patience is how long a test waits for what must come.
const patience = 30 * time.Second

// TestMain fails when a goroutine of the package outlives its tests.
func TestMain(m *testing.M) {
	_ = flag.Set("test.parallel", "6") // they wait more than they compute; the command line overrules it
	code := m.Run()
	for deadline := time.Now().Add(patience); ; runtime.Gosched() {
		buf := make([]byte, 1<<20)
		stacks := string(buf[:runtime.Stack(buf, true)])
		if !strings.Contains(stacks, "watch.(*Watcher)") && !strings.Contains(stacks, "watch.(*look)") && !strings.Contains(stacks, "fsnotify.(*") {
			break
		}
		if time.Now().After(deadline) {
			fmt.Fprintf(os.Stderr, "goroutines left behind:\n%s\n", stacks)
			code = 1
			break
		}
	}
	os.Exit(code)
}

// journal is a log to look things up in.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// audience is a watcher with somebody who listens. It also watches a marker of
// its own, by which it knows that nothing more can come. The marker is a
// directory: a change in it is only seen after its event, and so after those of
// all that was done before.
type audience struct {
	*Watcher
	log    journal
	marker string
	turn   int
}

// listen begins to watch. The log also goes to out.
func listen(o Options, marker string, out io.Writer) (*audience, error) {
	a := &audience{marker: marker}
	o.Paths = append(slices.Clone(o.Paths), marker)
	if o.Debounce == 0 {
		o.Debounce = 100 * time.Millisecond
	}
	o.Log = slog.New(slog.NewTextHandler(io.MultiWriter(&a.log, out), nil))
	err := os.MkdirAll(marker, 0o755)
	if err == nil {
		a.Watcher, err = New(context.Background(), o)
	}
	return a, err
}

// reports returns what has been reported for all that was done before.
func (a *audience) reports() (all [][]string, err error) {
	a.turn++
	if err := os.WriteFile(filepath.Join(a.marker, "turn"), []byte(fmt.Sprint(a.turn)), 0o644); err != nil {
		return nil, err
	}
	for {
		paths, err := a.next()
		if err != nil {
			return nil, err
		}
		others := slices.DeleteFunc(slices.Clone(paths), func(p string) bool { return p == a.marker })
		if len(others) > 0 {
			all = append(all, others)
		}
		if len(others) < len(paths) {
			return all, nil
		}
	}
}

// next waits for a report.
func (a *audience) next() ([]string, error) {
	select {
	case c, ok := <-a.Changes():
		if !ok {
			return nil, errors.New("Changes is closed")
		}
		return c.Paths, nil
	case <-time.After(patience):
		return nil, fmt.Errorf("no report; log:\n%s", a.log.String())
	}
}

// stage is a directory in which a test lets things happen, and the audience.
type stage struct {
	testing.TB
	*audience
	dir string
}

func newStage(t testing.TB) *stage { return &stage{TB: t, dir: t.TempDir()} }

// watch begins to watch paths in the stage's directory.
func (s *stage) watch(o Options) *stage {
	s.Helper()
	for i, p := range o.Paths {
		o.Paths[i] = s.path(p)
	}
	return s.raw(o)
}

// raw begins to watch paths as they are.
func (s *stage) raw(o Options) *stage {
	s.Helper()
	a, err := listen(o, filepath.Join(s.TempDir(), "marker"), s.Output())
	s.must(err)
	s.Cleanup(func() { s.must(a.Close()) })
	s.audience = a
	return s
}

// expect fails unless exactly these were reported since the last call.
func (s *stage) expect(want ...string) {
	s.Helper()
	if diff := cmp.Diff(want, s.reports()); diff != "" {
		s.Fatalf("reports (-want +got):\n%s\nlog:\n%s", diff, s.log.String())
	}
}

// reports returns one string for each report, with paths as the test knows them.
func (s *stage) reports() []string {
	s.Helper()
	all, err := s.audience.reports()
	s.must(err)
	var names []string
	for _, paths := range all {
		names = append(names, strings.ReplaceAll(strings.Join(paths, " "), s.dir+"/", ""))
	}
	return names
}

func (s *stage) path(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(s.dir, name)
}

func (s *stage) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

func (s *stage) write(name, text string) {
	s.Helper()
	s.must(os.WriteFile(s.path(name), []byte(text), 0o644))
}

func (s *stage) mkdir(name string) {
	s.Helper()
	s.must(os.MkdirAll(s.path(name), 0o755))
}

func (s *stage) rename(from, to string) {
	s.Helper()
	s.must(os.Rename(s.path(from), s.path(to)))
}

func (s *stage) remove(name string) {
	s.Helper()
	s.must(os.RemoveAll(s.path(name)))
}

func (s *stage) link(target, name string) {
	s.Helper()
	s.must(os.Symlink(target, s.path(name)))
}

// relink swaps a symlink as the kubelet and git-sync do.
func (s *stage) relink(target, name string) {
	s.Helper()
	s.link(target, name+".new")
	s.rename(name+".new", name)
}
