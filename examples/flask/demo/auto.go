package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/stablehand/stablehand/internal/load"
)

const (
	// loadSeconds is how long the application pretends to load.
	loadSeconds = "3"

	// clients ask at the same time.
	clients = 8

	before = "Hello, version 1"
	after  = "Hello, version 2"

	// changeTimeout is how long a change may take to be answered by all.
	changeTimeout = time.Minute
)

// seen is what clients saw of one change.
type seen struct {
	load.Result
	changed time.Time
}

// both makes one change by a handoff and one by gunicorn's own HUP.
func (d demo) both(ctx context.Context) (handoff, hup seen, err error) {
	handoff, err = d.change(ctx, d.stablehand, func(ctx context.Context, s *server) error {
		d.say("stablehand sees the change by itself, and hands over")
		return s.await(ctx, `msg="handed off" generation=2`)
	})
	if err != nil {
		return handoff, hup, fmt.Errorf("under stablehand: %w", err)
	}
	hup, err = d.change(ctx, filepath.Join(d.bin, "gunicorn"), func(_ context.Context, s *server) error {
		d.say("gunicorn sees no change by itself: kill -HUP %d", s.cmd.Process.Pid)
		return s.cmd.Process.Signal(syscall.SIGHUP)
	})
	if err != nil {
		return handoff, hup, fmt.Errorf("under gunicorn alone: %w", err)
	}
	return handoff, hup, nil
}

// compare prints what clients see of a handoff, and of HUP.
func (d demo) compare(ctx context.Context) error {
	handoff, hup, err := d.both(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(d.out, "\nThe greeting was changed under load; each worker takes %s s to load the application.\n\n", loadSeconds)
	table := tabwriter.NewWriter(d.out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "\trequests\tfailed\tlongest silence\tnew version first seen after\t")
	handoff.print(table, "stablehand's handoff")
	hup.print(table, "gunicorn's own HUP")
	table.Flush()
	if handoff.Failed > 0 {
		return fmt.Errorf("requests failed: %s", handoff.Result)
	}
	return nil
}

// print prints one line of the table.
func (s seen) print(table *tabwriter.Writer, how string) {
	fmt.Fprintf(table, "%s\t%d\t%d\t%s\t%s\t\n", how, s.Requests, s.Failed, round(s.Silence),
		round(s.Version(after).First.Sub(s.changed)))
}

func round(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }

// change serves a copy of the example with program, changes the greeting in it
// under load, has reload see to it that the change is taken up, and says what
// the clients saw.
func (d demo) change(ctx context.Context, program string, reload func(context.Context, *server) error) (seen, error) {
	d.say("copying %s, to change the copy under %s", shorten(d.example), filepath.Base(program))
	dir, err := copyOf(d.example)
	if err != nil {
		return seen{}, err
	}
	defer os.RemoveAll(dir)
	s, err := d.start(dir, []string{"LOAD_SECONDS=" + loadSeconds, "STABLEHAND_LOG_FORMAT=text"}, program, &log{})
	if err != nil {
		return seen{}, err
	}
	defer d.stop(s)
	if err := s.answers(ctx); err != nil {
		return seen{}, err
	}
	d.say("it answers: %d clients ask it without a pause until they get %q", clients, before)
	run := load.Start(ctx, load.Options{URL: s.url, Clients: clients})
	defer run.Stop()
	ctx, cancel := context.WithTimeout(ctx, changeTimeout)
	defer cancel()
	if err := run.WaitFor(ctx, before); err != nil {
		return seen{}, err
	}
	d.say("changing the greeting in %s", filepath.Join(dir, "gunicorn.conf.py"))
	changed := time.Now()
	if err := edit(filepath.Join(dir, "gunicorn.conf.py")); err != nil {
		return seen{}, err
	}
	if err := reload(ctx, s); err != nil {
		return seen{}, err
	}
	d.say("waiting until a client gets %q", after)
	if err := run.WaitFor(ctx, after); err != nil {
		return seen{}, err
	}
	return seen{run.Stop(), changed}, nil
}

// copyOf copies the example's files to a folder that may be changed. There each worker
// loads the application by itself: HUP would never load a preloaded one anew.
func copyOf(example string) (string, error) {
	dir, err := os.MkdirTemp("", "stablehand-demo-")
	if err != nil {
		return "", err
	}
	for _, name := range []string{"app.py", "gunicorn.conf.py"} {
		text, err := os.ReadFile(filepath.Join(example, name))
		if err == nil {
			text = bytes.Replace(text, []byte("preload_app = True"), []byte("preload_app = False"), 1)
			err = os.WriteFile(filepath.Join(dir, name), text, 0o644)
		}
		if err != nil {
			os.RemoveAll(dir)
			return "", err
		}
	}
	return dir, nil
}

// edit changes the greeting as editors do, by a new file in the old one's place.
func edit(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if !strings.Contains(string(text), before) {
		return fmt.Errorf("%s does not say %q", path, before)
	}
	edited := path + ".new"
	if err := os.WriteFile(edited, []byte(strings.Replace(string(text), before, after, 1)), 0o644); err != nil {
		return err
	}
	return os.Rename(edited, path)
}
