// Command demo serves the Flask example under stablehand, on loopback, until it
// is interrupted. With the word auto it changes the example's configuration
// itself, under load, prints what the clients saw, and ends. Nothing that it
// started is left when it ends.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

// startTimeout is how long the example may take until it answers.
const startTimeout = time.Minute

// demo is where things are.
type demo struct {
	stablehand string // the binary
	bin        string // the virtual environment's directory of programs
	example    string // the folder with the application
	address    string // where to serve
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	d := demo{stablehand: "bin/stablehand", bin: ".venv/bin", example: "examples/flask", address: "127.0.0.1:8000"}
	if err := d.main(ctx, os.Args[1:]); err != nil && ctx.Err() == nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		stop()
		os.Exit(1)
	}
}

func (d demo) main(ctx context.Context, words []string) error {
	for _, path := range []*string{&d.stablehand, &d.bin, &d.example} {
		absolute, err := filepath.Abs(*path)
		if err != nil {
			return err
		}
		*path = absolute
	}
	if err := free(d.address); err != nil {
		return err
	}
	switch {
	case len(words) == 0:
		return d.serve(ctx)
	case len(words) == 1 && words[0] == "auto":
		return d.compare(ctx)
	}
	return fmt.Errorf("unknown words %q: give none, or auto", words)
}

// serve serves the example until ctx ends.
func (d demo) serve(ctx context.Context) error {
	s, err := d.start(d.example, nil, d.stablehand, nil)
	if err != nil {
		return err
	}
	defer s.stop()
	if err := s.answers(ctx); err != nil {
		return err
	}
	fmt.Printf("\n=> http://%s/ answers. Edit the greeting in %s and ask again to see a handoff; Ctrl-C ends.\n\n",
		d.address, shorten(filepath.Join(d.example, "gunicorn.conf.py")))
	select {
	case <-s.ended:
		return errors.New("stablehand has ended, see above")
	case <-ctx.Done():
		return nil
	}
}

// free says whether an address can be listened on.
func free(address string) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("%s is not free (%w): stop what listens there", address, err)
	}
	return listener.Close()
}

// shorten makes a path relative to the working directory, where that is shorter.
func shorten(path string) string {
	if here, err := os.Getwd(); err == nil {
		if relative, err := filepath.Rel(here, path); err == nil && len(relative) < len(path) {
			return relative
		}
	}
	return path
}
