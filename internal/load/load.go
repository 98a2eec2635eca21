package load

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// ErrReset is the error of a request whose connection was made, and closed or
// reset before the first byte of an answer.
var ErrReset = errors.New("closed before an answer")

const (
	defaultClients = 8
	defaultTimeout = 10 * time.Second

	// A refused connection fails in microseconds. The pause keeps a client
	// from counting one outage ten thousand times and from starving the
	// server that it waits for.
	pauseAfterFailure = 10 * time.Millisecond

	// An answer longer than this is no version.
	maxBody = 64 << 10
)

// Options says whom to ask, and how.
type Options struct {
	// URL is what every client asks for, as in http://127.0.0.1:8000/.
	URL string

	// Dial connects to URL's host, or to what is asked instead of it. Default: as a
	// [net.Dialer] does. [Unix] is another.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	// TLS is whom to trust where URL is https, and what name to ask for.
	// Default: as the system has it.
	TLS *tls.Config

	// Serial makes the serial number of the server's certificate the version,
	// in hexadecimal as openssl shows it, instead of the text of the answer.
	Serial bool

	// Clients ask at the same time. Default 8.
	Clients int

	// KeepAlive lets each client use its connection again. A server may close
	// an idle connection at any moment, also while the next request is on its
	// way; so a request on a connection that was used before, and that was
	// closed before the first byte of an answer, is sent once more on a fresh
	// one, as HTTP clients do with a request that is safe to repeat. It counts
	// as a retry, not as a failure. Without KeepAlive every request has a
	// fresh connection and nothing is sent twice.
	KeepAlive bool

	// Timeout is how long one request may take before it has failed.
	// Default 10 s.
	Timeout time.Duration

	// Pause is how long a client rests between an answer and its next request,
	// for a load that is to leave the machine to others. Default 0.
	Pause time.Duration

	// Every, if it is not 0, is how often each client asks, instead of as soon as it
	// can. A request that is due while the one before waits for its answer is sent
	// when that has come, and has begun when it was due: so a silence is felt by all
	// that would have been asked meanwhile, and not by one request of each client.
	Every time.Duration

	// Each, if it is not nil, is told of every request when it has ended, by
	// each client's own goroutine.
	Each func(Request)
}

// Request is one request that has ended.
type Request struct {
	Began, Ended time.Time
	Version      string
	Retries      int   // sent again on a fresh connection, see Options.KeepAlive
	Err          error // nil if it was answered
}

// Run is a load under way. Its methods may be called from any goroutine.
type Run struct {
	tally *tally
	stop  chan struct{}
	once  sync.Once
	done  sync.WaitGroup
}

// Start starts the clients. They ask until Stop, or until ctx is done, which
// also aborts the requests under way, without counting them.
func Start(ctx context.Context, o Options) *Run {
	if o.Clients == 0 {
		o.Clients = defaultClients
	}
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	r := &Run{tally: newTally(time.Now()), stop: make(chan struct{})}
	for i := range o.Clients {
		due := time.Now().Add(o.Every * time.Duration(i) / time.Duration(o.Clients))
		r.done.Go(func() { r.client(ctx, o, due) })
	}
	return r
}

// WaitFor returns when version has been answered since the start of the run.
func (r *Run) WaitFor(ctx context.Context, version string) error {
	for {
		seen, changed := r.tally.has(version)
		if seen {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("waiting for %q to be answered: %w; so far %s", version, ctx.Err(), r.tally.result(time.Now()))
		}
	}
}

// SoFar says what the clients have seen until now.
func (r *Run) SoFar() Result { return r.tally.result(time.Now()) }

// Stop lets each client finish the request that it has under way and says
// what they saw. Stopping again says the same.
func (r *Run) Stop() Result {
	r.once.Do(func() {
		close(r.stop)
		r.done.Wait()
		r.tally.end(time.Now())
	})
	return r.tally.result(time.Now())
}

// client asks until it is told to stop, where there is a pace from due on.
func (r *Run) client(ctx context.Context, o Options, due time.Time) {
	transport := newTransport(o)
	defer transport.CloseIdleConnections()
	for {
		r.pause(ctx, time.Until(due))
		select {
		case <-r.stop:
			return
		case <-ctx.Done():
			return
		default:
		}
		began := time.Now()
		if o.Every > 0 {
			began, due = due, due.Add(o.Every)
		}
		version, retries, err := ask(ctx, transport, o)
		if ctx.Err() != nil {
			return
		}
		ended := time.Now()
		r.tally.add(ended, version, retries, err)
		if o.Each != nil {
			o.Each(Request{began, ended, version, retries, err})
		}
		rest := o.Pause
		if err != nil {
			rest = max(rest, pauseAfterFailure)
		}
		r.pause(ctx, rest)
	}
}

func (r *Run) pause(ctx context.Context, rest time.Duration) {
	if rest <= 0 {
		return
	}
	select {
	case <-time.After(rest):
	case <-r.stop:
	case <-ctx.Done():
	}
}

// newTransport is one client's own: with at most one connection, so that a
// retry can only go to a fresh one.
func newTransport(o Options) *http.Transport {
	return &http.Transport{
		DialContext:         o.Dial,
		DisableKeepAlives:   !o.KeepAlive,
		MaxConnsPerHost:     1,
		MaxIdleConnsPerHost: 1,
		DisableCompression:  true,
		TLSClientConfig:     o.TLS,
	}
}

// Unix dials a unix socket, whatever host a URL names.
func Unix(path string) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}
}

// ask sends one request and returns the version that has answered.
//
// The retry of Options.KeepAlive is http.Transport's own: it sends a GET again
// when the connection had been used before and broke before the first byte of
// the answer, and never otherwise. Each attempt gets a connection, so the
// connections beyond the first are the retries.
func ask(ctx context.Context, t *http.Transport, o Options) (version string, retries int, err error) {
	ctx, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	attempts := 0
	connected := false
	var answering atomic.Bool // the transport's own goroutine tells
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn:              func(string) { attempts++; connected = false },
		GotConn:              func(httptrace.GotConnInfo) { connected = true },
		GotFirstResponseByte: func() { answering.Store(true) },
	})
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, o.URL, nil)
	if err != nil {
		return "", 0, err
	}
	resp, err := t.RoundTrip(req)
	retries = max(0, attempts-1)
	if err != nil && connected && !answering.Load() && ctx.Err() == nil {
		err = fmt.Errorf("%w: %w", ErrReset, err)
	}
	if err != nil {
		return "", retries, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	version = strings.TrimSpace(string(body))
	if err != nil {
		return "", retries, fmt.Errorf("reading the answer: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return "", retries, fmt.Errorf("answered %s: %.200s", resp.Status, version)
	}
	if o.Serial {
		version = fmt.Sprintf("%X", resp.TLS.PeerCertificates[0].SerialNumber.Bytes())
	}
	return version, retries, nil
}
