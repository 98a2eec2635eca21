package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// server is a stablehand, or a plain gunicorn, that the demo started.
type server struct {
	cmd   *exec.Cmd
	url   string
	log   *log
	ended chan struct{}
}

// start starts program with gunicorn's words for the application in dir. What
// it writes goes to the terminal, and through log if that is not nil.
func (d demo) start(dir string, env []string, program string, log *log) (*server, error) {
	if _, err := os.Stat(filepath.Join(d.bin, "gunicorn")); err != nil {
		return nil, fmt.Errorf("no gunicorn: %w", err)
	}
	s := &server{url: "http://" + d.address + "/", log: log, ended: make(chan struct{})}
	s.cmd = exec.Command(program, "--bind="+d.address, "app:app")
	s.cmd.Dir = dir
	env = append(env, "STABLEHAND_WATCH=gunicorn.conf.py,app.py")
	s.cmd.Env = append(os.Environ(), "PATH="+d.bin+":"+os.Getenv("PATH"), "PYTHONDONTWRITEBYTECODE=1")
	s.cmd.Env = append(s.cmd.Env, env...)
	d.say("starting in %s: %s %s --bind=%s app:app", shorten(dir), strings.Join(env, " "), filepath.Base(program), d.address)
	s.cmd.Stdout, s.cmd.Stderr = os.Stdout, os.Stderr
	if log != nil {
		s.cmd.Stdout, s.cmd.Stderr = log, log
	}
	// A process group of its own: Ctrl-C comes to us, and we stop it. If we are
	// killed it is told to stop, too.
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = s.cmd.Wait() // the server itself says why it has ended
		close(s.ended)
	}()
	return s, nil
}

// stop stops a server and returns when it has ended.
func (d demo) stop(s *server) {
	d.say("stopping %s, which lets requests end", filepath.Base(s.cmd.Path))
	s.cmd.Process.Signal(syscall.SIGTERM)
	<-s.ended
}

// answers waits until the server answers.
func (s *server) answers(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url, nil)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			resp.Body.Close()
			return nil
		}
		select {
		case <-s.ended:
			return errors.New("the example has ended, see above")
		case <-ctx.Done():
			return fmt.Errorf("the example does not answer: %w", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// log passes on what a server writes, and remembers it.
type log struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Write(p)
	return os.Stderr.Write(p)
}

// await waits until the log holds text.
func (s *server) await(ctx context.Context, text string) error {
	for !s.log.holds(text) {
		select {
		case <-s.ended:
			return errors.New("the example has ended, see above")
		case <-ctx.Done():
			return fmt.Errorf("%q was not logged: %w", text, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
	return nil
}

func (l *log) holds(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.text.String(), text)
}
