package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// ErrNothingRuns is the error of asking where no stablehand answers.
var ErrNothingRuns = errors.New("no stablehand runs here")

// Client asks a stablehand over its socket.
type Client struct {
	said string
	http http.Client
}

// NewClient asks at the path that CONTROL says, or wherever [Listen] may have
// chosen to listen.
func NewClient(said string) *Client {
	c := &Client{said: said}
	c.http.Transport = &http.Transport{DialContext: c.dial}
	return c
}

func (c *Client) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	candidates := Paths(c.said)
	// In a container that another user has entered, as docker exec -u root
	// does, the socket is where PID 1's user has it.
	if info, err := os.Stat("/proc/1"); err == nil {
		candidates = append(candidates, paths(c.said, int(info.Sys().(*syscall.Stat_t).Uid))...)
	}
	for _, path := range candidates {
		conn, err := new(net.Dialer).DialContext(ctx, "unix", path)
		switch {
		case err == nil:
			return conn, nil
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ECONNREFUSED):
		default:
			return nil, err
		}
	}
	return nil, fmt.Errorf("%w (nobody listens at %s)", ErrNothingRuns, strings.Join(Paths(c.said), ", "))
}

// ask sends a request and returns the answer, or an error where it is not one
// of success.
func (c *Client) ask(ctx context.Context, method, path, accept string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, method, "http://stablehand"+path, nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Accept", accept)
	answer, err := c.http.Do(r)
	var failed *url.Error
	if errors.As(err, &failed) {
		return nil, failed.Err // the address is no real one
	}
	if err != nil {
		return nil, err
	}
	if answer.StatusCode < 300 {
		return answer, nil
	}
	defer answer.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(answer.Body, maxBody))
	return nil, errors.New(string(bytes.TrimSpace(text)))
}

// Status asks how things stand.
func (c *Client) Status(ctx context.Context) (Status, error) {
	var status Status
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
	defer answer.Body.Close()
	return io.ReadAll(answer.Body)
}

// Reload asks for a handoff and waits until it is over; report is told each
// time that it has moved on.
func (c *Client) Reload(ctx context.Context, report func(Handoff)) (Handoff, error) {
	var h Handoff
	answer, err := c.ask(ctx, http.MethodPost, "/-/reload", ndjson)
	if err != nil {
		return h, err
	}
	defer answer.Body.Close()
	for lines := json.NewDecoder(answer.Body); !h.Over(); report(h) {
		h = Handoff{}
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
	return answer.Body.Close()
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
	return answer.Body.Close()
}
