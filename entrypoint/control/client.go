package control

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/stablehand/stablehand/entrypoint/status"
)

// ErrNothingRuns is the error of asking where no stablehand answers.
var ErrNothingRuns = errors.New("no stablehand runs gunicorn here")

// Client asks a stablehand over its socket, each question on a connection of
// its own. It does without http.Client, which would make the binary larger by
// half a megabyte for what nobody needs here.
type Client struct{ said string }

// NewClient asks at the path that CONTROL says, or wherever [Listen] may have
// chosen to listen.
func NewClient(said string) *Client { return &Client{said} }

// Socket is where a stablehand listens.
type Socket struct {
	Path string
	PID  int // of that stablehand, as we see it; 0 where we do not
}

// SeveralError is the error of asking where more than one stablehand of a user answers,
// and none of them is PID 1.
type SeveralError struct{ Sockets []Socket }

func (e *SeveralError) Error() string {
	var list []string
	for _, s := range e.Sockets {
		list = append(list, fmt.Sprintf("%s (process %d)", s.Path, s.PID))
	}
	return "several stablehands run here: " + strings.Join(list, ", ")
}

// Socket finds where the stablehand listens that is to be asked.
func (c *Client) Socket(ctx context.Context) (Socket, error) {
	found, err := c.dial(ctx)
	if err != nil {
		return Socket{}, err
	}
	return found.socket(), found.Close()
}

// dialled is a connection to where a stablehand listens.
type dialled struct {
	*net.UnixConn
	path string
}

func (d dialled) socket() Socket {
	cred, err := peer(d.UnixConn) // as of who listens
	if err != nil {
		return Socket{Path: d.path}
	}
	return Socket{d.path, int(cred.Pid)}
}

// dial finds the socket of the one that is meant.
func (c *Client) dial(ctx context.Context) (dialled, error) {
	found, err := c.dialAll(ctx)
	if len(found) == 0 {
		return dialled{}, err
	}
	which := meant(found)
	several := new(SeveralError)
	for _, d := range which {
		several.Sockets = append(several.Sockets, d.socket())
	}
	for _, d := range found {
		if len(which) > 1 || d != which[0] {
			d.Close()
		}
	}
	if len(which) > 1 {
		return dialled{}, several
	}
	return which[0], nil
}

// meant are those that may be asked: the container's own, which is PID 1, or else all in
// the first directory where there is one that we see. One that we do not see, in a
// directory that is shared, is in another container.
func meant(found []dialled) (which []dialled) {
	here := make([]dialled, 0, len(found))
	for _, d := range found {
		switch d.socket().PID {
		case 1:
			return []dialled{d}
		case 0:
			continue
		}
		here = append(here, d)
	}
	if len(here) == 0 {
		here = found
	}
	for _, d := range here {
		if filepath.Dir(d.path) == filepath.Dir(here[0].path) {
			which = append(which, d)
		}
	}
	return which
}

// dialAll finds all sockets at which somebody listens. One that refuses, or cannot be
// used, does not end the search: another may be the right one. The error is why there
// is none.
func (c *Client) dialAll(ctx context.Context) (found []dialled, err error) {
	candidates, refused := c.candidates()
	var seen []fs.FileInfo
	for _, path := range candidates {
		if info, err := os.Stat(path); err == nil {
			if slices.ContainsFunc(seen, func(s fs.FileInfo) bool { return os.SameFile(s, info) }) {
				continue
			}
			seen = append(seen, info)
		}
		conn, err := new(net.Dialer).DialContext(ctx, "unix", path)
		switch {
		case err == nil:
			found = append(found, dialled{conn.(*net.UnixConn), path})
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ECONNREFUSED):
			continue
		case errors.Is(err, fs.ErrPermission):
			err = fmt.Errorf("%s: %w: only stablehand's own user and root may ask", path, fs.ErrPermission)
		}
		refused = cmp.Or(refused, err)
	}
	nobody := fmt.Errorf("%w (nobody listens at %s)", ErrNothingRuns, strings.Join(Paths(c.said), ", "))
	return found, cmp.Or(refused, nobody)
}

// candidates are the paths at which somebody may listen: our own user's, and PID 1's. In
// a container that another user has entered, as docker exec -u root does, the socket is
// where that one has it. The error is why one was left out.
func (c *Client) candidates() (list []string, refused error) {
	if c.said != "" {
		return []string{c.said}, nil
	}
	users := []int{os.Geteuid()}
	if info, err := os.Stat("/proc/1"); err == nil {
		users = append(users, int(info.Sys().(*syscall.Stat_t).Uid))
	}
	for _, uid := range slices.Compact(users) {
		for _, path := range paths("", uid) {
			if len(path) > maxPath {
				continue // where Listen cannot listen either
			}
			if dir := filepath.Dir(path); anybodys(dir) {
				if err := onlyOf(dir, uid); errors.Is(err, fs.ErrNotExist) {
					continue
				} else if err != nil {
					refused = fmt.Errorf("%w: stablehand is not believed to listen there", err)
					continue
				}
			}
			list = append(list, beside(path)...)
		}
	}
	return list, refused
}

// anybodys says whether a directory is among the temporary files, where anybody can have
// made one of that name.
func anybodys(dir string) bool { return filepath.Dir(dir) == filepath.Clean(os.TempDir()) }

// ask sends a request and returns the body of the answer, or an error where it
// is not one of success. The end of ctx ends the conversation.
func (c *Client) ask(ctx context.Context, method, path, accept string) (io.ReadCloser, error) {
	request, err := http.NewRequest(method, "http://stablehand"+path, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", accept)
	request.Close = true
	conn, err := c.dial(ctx)
	if err != nil {
		return nil, err
	}
	body := &body{Conn: conn, stop: context.AfterFunc(ctx, func() { conn.Close() })}
	if err := body.converse(request); err != nil {
		body.Close()
		return nil, cmp.Or(ctx.Err(), err)
	}
	return body, nil
}

// body is that of an answer, and the connection that it comes from.
type body struct {
	net.Conn
	io.Reader
	stop func() bool
}

func (b *body) Read(p []byte) (int, error) { return b.Reader.Read(p) }

func (b *body) Close() error {
	b.stop()
	return b.Conn.Close()
}

// converse sends the request and reads as far as the body, if there is one to
// be read.
func (b *body) converse(request *http.Request) error {
	if err := request.Write(b.Conn); err != nil {
		return err
	}
	answer, err := http.ReadResponse(bufio.NewReader(b.Conn), request)
	if err != nil {
		return err
	}
	b.Reader = answer.Body
	if answer.StatusCode < 300 {
		return nil
	}
	text, _ := io.ReadAll(io.LimitReader(b, maxBody))
	return errors.New(string(bytes.TrimSpace(text)))
}

// Status asks how things stand.
func (c *Client) Status(ctx context.Context) (status.Status, error) {
	var status status.Status
	text, err := c.StatusJSON(ctx)
	if err != nil {
		return status, err
	}
	return status, json.Unmarshal(text, &status)
}

// StatusJSON is Status as the other side has written it, with whatever a newer
// one has to say.
func (c *Client) StatusJSON(ctx context.Context) ([]byte, error) {
	answer, err := c.ask(ctx, http.MethodGet, "/status", "application/json")
	if err != nil {
		return nil, err
	}
	defer answer.Close()
	return io.ReadAll(answer)
}

// Reload asks for a handoff and waits until it is over; report is told each
// time that it has moved on.
func (c *Client) Reload(ctx context.Context, report func(status.Handoff)) (status.Handoff, error) {
	var h status.Handoff
	answer, err := c.ask(ctx, http.MethodPost, "/-/reload", ndjson)
	if err != nil {
		return h, err
	}
	defer answer.Close()
	for lines := json.NewDecoder(answer); !h.Over(); report(h) {
		h = status.Handoff{}
		if err := lines.Decode(&h); err != nil {
			if ctx.Err() != nil {
				return h, ctx.Err()
			}
			return h, fmt.Errorf("stablehand ended before the handoff did: %w", err)
		}
	}
	return h, nil
}

// ReloadSoon asks for a handoff and does not wait for it.
func (c *Client) ReloadSoon(ctx context.Context) error {
	answer, err := c.ask(ctx, http.MethodPost, "/-/reload?wait=false", "*/*")
	if err != nil {
		return err
	}
	return answer.Close()
}

// Serving asks whether a ready generation serves; with ready also whether the
// container is to get new requests. The error says why not.
func (c *Client) Serving(ctx context.Context, ready bool) error {
	path := "/healthz"
	if ready {
		path = "/readyz"
	}
	answer, err := c.ask(ctx, http.MethodGet, path, "*/*")
	if err != nil {
		return err
	}
	return answer.Close()
}
