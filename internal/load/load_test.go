package load_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stablehand/stablehand/internal/load"
)

// until waits for something that the run is to see.
func until(t *testing.T, r *load.Run, what string, seen func(load.Result) bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !seen(r.SoFar()) {
		if time.Now().After(deadline) {
			t.Fatalf("never saw %s: %s", what, r.Stop())
		}
		time.Sleep(time.Millisecond)
	}
}

func answers(n int) func(load.Result) bool {
	return func(r load.Result) bool { return r.Requests-r.Failed >= n }
}

func failures(n int) func(load.Result) bool {
	return func(r load.Result) bool { return r.Failed >= n }
}

func text(s string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, s+"\n") }
}

// hangUp closes the connection without an answer; with reset, rudely.
func hangUp(w http.ResponseWriter, reset bool) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	if tcp, ok := conn.(*net.TCPConn); ok && reset {
		tcp.SetLinger(0)
	}
	conn.Close()
}

func TestAHealthyServerIsSeenWithoutFailure(t *testing.T) {
	var connections atomic.Int64
	server := httptest.NewUnstartedServer(text("v1"))
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			connections.Add(1)
		}
	}
	server.Start()
	defer server.Close()
	for _, keepAlive := range []bool{false, true} {
		connections.Store(0)
		run := load.Start(t.Context(), load.Options{URL: server.URL, Clients: 3, KeepAlive: keepAlive})
		until(t, run, "100 answers", answers(100))
		got := run.Stop()
		if got.Failed != 0 || got.Retries != 0 || len(got.Errors) != 0 {
			t.Errorf("keep-alive %v: %s", keepAlive, got)
		}
		if len(got.Versions) != 1 || got.Version("v1").Count != got.Requests {
			t.Errorf("keep-alive %v: not every request counted for v1: %s", keepAlive, got)
		}
		want := int64(got.Requests)
		if keepAlive {
			want = 3
		}
		if connections.Load() != want {
			t.Errorf("keep-alive %v: %d connections for %d requests, want %d", keepAlive, connections.Load(), got.Requests, want)
		}
	}
}

func TestARefusedConnectionIsAFailure(t *testing.T) {
	server := httptest.NewServer(text("v1"))
	server.Close()
	run := load.Start(t.Context(), load.Options{URL: server.URL})
	until(t, run, "a failure", failures(1))
	got := run.Stop()
	if got.Failed != got.Requests || got.Resets != 0 || !strings.Contains(got.Errors[0], "connection refused") {
		t.Error(got)
	}
}

func TestABrokenAnswerIsAFailure(t *testing.T) {
	for name, test := range map[string]struct {
		handler http.HandlerFunc
		says    string
		reset   bool
	}{
		"status 500": {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "oops", 500) }, "500 Internal Server Error: oops", false},
		"closed":     {func(w http.ResponseWriter, _ *http.Request) { hangUp(w, false) }, "EOF", true},
		"reset":      {func(w http.ResponseWriter, _ *http.Request) { hangUp(w, true) }, "reset", true},
		"cut short": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			io.WriteString(w, "v1")
		}, "unexpected EOF", false},
		"cut short in its head": {func(w http.ResponseWriter, _ *http.Request) {
			conn, _, _ := http.NewResponseController(w).Hijack()
			io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-")
			conn.Close()
		}, "Content-", false},
	} {
		t.Run(name, func(t *testing.T) {
			var requests atomic.Int64
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				// Every tenth is broken, so the others must stay counted as good.
				if requests.Add(1)%10 == 0 {
					test.handler(w, r)
					return
				}
				text("v1")(w, r)
			}))
			defer server.Close()
			run := load.Start(t.Context(), load.Options{URL: server.URL})
			until(t, run, "3 failures", failures(3))
			got := run.Stop()
			if got.Retries != 0 || got.Failed != int(requests.Load()/10) || got.Version("v1").Count != got.Requests-got.Failed {
				t.Errorf("%d requests reached the server: %s", requests.Load(), got)
			}
			if !strings.Contains(got.Errors[0], test.says) {
				t.Errorf("the failure does not say %q: %s", test.says, got)
			}
			if want := map[bool]int{true: got.Failed}[test.reset]; got.Resets != want {
				t.Errorf("%d resets, want %d: %s", got.Resets, want, got)
			}
		})
	}
}

func TestASilentServerIsAFailureAndASilence(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer server.Close()
	run := load.Start(t.Context(), load.Options{URL: server.URL, Timeout: 100 * time.Millisecond})
	until(t, run, "a failure", failures(1))
	got := run.Stop()
	if got.Failed != got.Requests || got.Resets != 0 || got.Silence < 100*time.Millisecond || got.Silence != got.End.Sub(got.Start) {
		t.Error(got)
	}
}

func TestASilenceBetweenAnswersIsMeasured(t *testing.T) {
	const silence = 300 * time.Millisecond
	var quiet atomic.Pointer[time.Time]
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if until := quiet.Load(); until != nil {
			time.Sleep(time.Until(*until))
		}
		text("v1")(w, r)
	}))
	defer server.Close()
	run := load.Start(t.Context(), load.Options{URL: server.URL})
	until(t, run, "answers", answers(50))
	before := time.Now()
	end := before.Add(silence)
	quiet.Store(&end)
	until(t, run, "the silence", func(r load.Result) bool { return r.Silence >= silence*9/10 })
	n := run.SoFar().Requests
	until(t, run, "more answers", answers(n+50))
	got := run.Stop()
	if got.Failed != 0 || got.Silence < silence*9/10 || got.SilenceAt.Before(before.Add(-silence)) {
		t.Errorf("no silence of %s after %s: %s", silence, before.Sub(got.Start), got)
	}
}

// What would have been asked in a silence has waited, too, from when it was due.
func TestAPacedLoadFeelsASilence(t *testing.T) {
	const silence, every = 300 * time.Millisecond, 10 * time.Millisecond
	var quiet atomic.Pointer[time.Time]
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if until := quiet.Load(); until != nil {
			time.Sleep(time.Until(*until))
		}
		text("v1")(w, r)
	}))
	defer server.Close()
	var waited atomic.Int64
	run := load.Start(t.Context(), load.Options{URL: server.URL, Clients: 1, Every: every, Each: func(r load.Request) {
		if r.Ended.Sub(r.Began) > silence/4 {
			waited.Add(1)
		}
	}})
	until(t, run, "answers", answers(3))
	begun := time.Now()
	end := begun.Add(silence)
	quiet.Store(&end)
	n := run.SoFar().Requests
	until(t, run, "what was due in the silence", answers(n+2*int(silence/every)))
	if took := time.Since(begun); took < 2*silence*3/4 {
		t.Errorf("so many requests took %s: they were not paced", took)
	}
	if want := int64(silence / every / 2); waited.Load() < want {
		t.Errorf("%d requests have waited, want at least %d of those that were due", waited.Load(), want)
	}
	if got := run.Stop(); got.Failed != 0 {
		t.Error(got)
	}
}

func TestVersionsAreSeenInTheirOrder(t *testing.T) {
	var version atomic.Value
	version.Store("v1")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { text(version.Load().(string))(w, r) }))
	defer server.Close()
	run := load.Start(t.Context(), load.Options{URL: server.URL})
	until(t, run, "answers", answers(1))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := run.WaitFor(ctx, "v2"); err == nil || !strings.Contains(err.Error(), `"v1"`) {
		t.Errorf("waiting for a version that nobody answers: %v", err)
	}
	changed := time.Now()
	version.Store("v2")
	if err := run.WaitFor(t.Context(), "v2"); err != nil {
		t.Error(err)
	}
	got := run.Stop()
	v1, v2 := got.Version("v1"), got.Version("v2")
	if got.Versions[0].Text != "v1" || v2.First.Before(changed) || v1.First.After(changed) || v1.Count+v2.Count != got.Requests {
		t.Error(got)
	}
}

// A server that closes a connection when its second request arrives has been
// met by every client that keeps connections. Without a byte of answer such a
// request is sent again; on a fresh connection, or after a byte, it is not.
func TestAReusedConnectionThatIsClosedIsRetried(t *testing.T) {
	for name, reset := range map[string]bool{"closed": false, "reset": true} {
		t.Run(name, func(t *testing.T) {
			server := closesSecond(t, func(w http.ResponseWriter) { hangUp(w, reset) })
			run := load.Start(t.Context(), load.Options{URL: server, KeepAlive: true})
			until(t, run, "20 retries", func(r load.Result) bool { return r.Retries >= 20 })
			if got := run.Stop(); got.Failed != 0 {
				t.Error(got)
			}
		})
	}
	t.Run("after a byte", func(t *testing.T) {
		server := closesSecond(t, func(w http.ResponseWriter) {
			conn, _, _ := http.NewResponseController(w).Hijack()
			io.WriteString(conn, "HTTP/1.1 2")
			conn.Close()
		})
		run := load.Start(t.Context(), load.Options{URL: server, KeepAlive: true})
		until(t, run, "20 failures", failures(20))
		if got := run.Stop(); got.Retries != 0 {
			t.Error(got)
		}
	})
	t.Run("on a fresh connection", func(t *testing.T) {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { hangUp(w, false) }))
		defer server.Close()
		run := load.Start(t.Context(), load.Options{URL: server.URL, KeepAlive: true})
		until(t, run, "20 failures", failures(20))
		if got := run.Stop(); got.Retries != 0 {
			t.Error(got)
		}
	})
}

// closesSecond answers the first request of each connection and treats the
// second as told.
func closesSecond(t *testing.T, second func(http.ResponseWriter)) (url string) {
	type key struct{}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Context().Value(key{}).(*atomic.Int64).Add(1) > 1 {
			second(w)
			return
		}
		text("v1")(w, r)
	}))
	server.Config.ConnContext = func(ctx context.Context, _ net.Conn) context.Context {
		return context.WithValue(ctx, key{}, new(atomic.Int64))
	}
	server.Start()
	t.Cleanup(server.Close)
	return server.URL
}

func TestACertificateIsAVersion(t *testing.T) {
	server := httptest.NewTLSServer(text("v1"))
	defer server.Close()
	trust := server.Client().Transport.(*http.Transport).TLSClientConfig
	run := load.Start(t.Context(), load.Options{URL: server.URL, TLS: trust, Serial: true})
	until(t, run, "answers", answers(10))
	serial := fmt.Sprintf("%X", server.Certificate().SerialNumber.Bytes())
	if got := run.Stop(); got.Failed != 0 || got.Version(serial).Count != got.Requests {
		t.Errorf("not every answer came with the certificate %s: %s", serial, got)
	}
}

func TestAFailedHandshakeIsAFailure(t *testing.T) {
	server := httptest.NewTLSServer(text("v1"))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	defer server.Close()
	run := load.Start(t.Context(), load.Options{URL: server.URL, TLS: &tls.Config{RootCAs: x509.NewCertPool()}})
	until(t, run, "a failure", failures(1))
	got := run.Stop()
	if got.Failed != got.Requests || !strings.Contains(got.Errors[0], "certificate") {
		t.Error(got)
	}
}

func TestAUnixSocketIsAsked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(text("v1"))
	server.Listener.Close()
	server.Listener = listener
	server.Start()
	defer server.Close()
	run := load.Start(t.Context(), load.Options{URL: "http://localhost/", Dial: load.Unix(path)})
	until(t, run, "answers", answers(10))
	if got := run.Stop(); got.Failed != 0 {
		t.Error(got)
	}
}

func TestStoppingByTheContextCountsNothing(t *testing.T) {
	asked := make(chan struct{}, 100)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		<-r.Context().Done()
	}))
	defer server.Close()
	ctx, cancel := context.WithCancel(t.Context())
	run := load.Start(ctx, load.Options{URL: server.URL})
	<-asked
	cancel()
	if got := run.Stop(); got.Requests != 0 || got.Failed != 0 {
		t.Error(got)
	}
}
