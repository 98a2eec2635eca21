// Command demo serves the Flask example under stablehand, on loopback, until it
// is interrupted. With the word auto it changes the example's configuration
// itself, under load, prints what the clients saw, and ends. It says each thing
// before it does it. Nothing that it started is left when it ends.
//
//	demo [-port N] [auto]
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
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
	out        io.Writer
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	d := demo{stablehand: "bin/stablehand", bin: ".venv/bin", example: "examples/flask", out: os.Stdout}
	port := flag.String("port", "8000", "the port of 127.0.0.1 to serve at")
	flag.Parse()
	d.address = net.JoinHostPort("127.0.0.1", *port)
	if err := d.main(ctx, flag.Args()); err != nil && ctx.Err() == nil {
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
	defer d.stop(s)
	if err := s.answers(ctx); err != nil {
		return err
	}
	d.say("%s answers. Edit the greeting in %s and ask again to see a handoff; Ctrl-C ends.",
		s.url, shorten(filepath.Join(d.example, "gunicorn.conf.py")))
	select {
	case <-s.ended:
		return errors.New("stablehand has ended, see above")
	case <-ctx.Done():
		return nil
	}
}

// say tells what is done next.
func (d demo) say(format string, args ...any) {
	fmt.Fprintf(d.out, "\n=> "+format+"\n", args...)
}

// free says in one line why an address cannot be listened on.
func free(address string) error {
	_, port, _ := net.SplitHostPort(address)
	n, err := strconv.Atoi(port)
	if err != nil || n < 1 || n > 65535 {
		return fmt.Errorf("PORT=%s is no port: give a number from 1 to 65535", port)
	}
	another := fmt.Sprintf("make demo PORT=%d", max(8000, (n+1)%65536))
	listener, err := net.Listen("tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("port %d is taken: stop what listens at %s, or take another one: %s", n, address, another)
	}
	if err != nil {
		return fmt.Errorf("port %d cannot be had (%w): take another one: %s", n, err, another)
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
