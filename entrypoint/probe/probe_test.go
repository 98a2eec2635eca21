package probe

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func parsed(t *testing.T, text string) Target {
	t.Helper()
	target, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return target
}

func TestWhatIsNoProbeIsRefusedWithItsReason(t *testing.T) {
	for text, want := range map[string]string{
		"localhost/healthz":            "http://",
		"ftp://localhost/healthz":      "http://",
		"http:///healthz":              "host",
		"http://:8000/healthz":         "host",
		"http:healthz":                 "host",
		"http://a:secret@host/healthz": "user",
		"http://a:se cret@host/":       "userinfo",
		"http://host/healthz#part":     "fragment",
		"http://host/healthz#":         "fragment",
		"http://host:0/healthz":        "port",
		"http://host:65536/healthz":    "port",
		"http://host:http/healthz":     "port",
		"http://host/%zz":              "escape",
	} {
		_, err := Parse(text)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "cret") {
			t.Errorf("%s: %v; want something of %q", text, err, want)
		}
	}
}

// server is asked by a pipe, and answers what it is told to.
func server(answer func(net.Conn)) Dial {
	return func(context.Context) (net.Conn, error) {
		here, there := net.Pipe()
		go func() {
			defer there.Close()
			answer(there)
		}()
		return here, nil
	}
}

// says is a server that reads a request, and says something.
func says(text string) Dial {
	return server(func(c net.Conn) {
		if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
			_, _ = io.WriteString(c, text)
		}
	})
}

func TestWhatIsSentIsTheURLsOwn(t *testing.T) {
	asked := make(chan *http.Request, 1)
	dial := server(func(c net.Conn) {
		r, err := http.ReadRequest(bufio.NewReader(c))
		if err == nil {
			asked <- r
			_, _ = io.WriteString(c, "HTTP/1.1 204 No Content\r\n\r\n")
		}
	})
	if code, err := parsed(t, "http://example.org:81/a/b?c=d%20e").Ask(t.Context(), dial); code != 204 || err != nil {
		t.Fatalf("%d, %v", code, err)
	}
	r := <-asked
	if r.Host != "example.org:81" || r.RequestURI != "/a/b?c=d%20e" || r.Method != "GET" || !r.Close || r.UserAgent() != userAgent {
		t.Errorf("%s %s %s, close %v, by %s", r.Host, r.Method, r.RequestURI, r.Close, r.UserAgent())
	}
	for _, text := range []string{"http://example.org", "http://example.org?a"} {
		go parsed(t, text).Ask(t.Context(), dial)
		if r := <-asked; !strings.HasPrefix(r.RequestURI, "/") {
			t.Errorf("%s asks for %q", text, r.RequestURI)
		}
	}
}

func TestTheStatusCounts(t *testing.T) {
	for text, want := range map[string]int{
		"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\nand there is no end of it": 200,
		"HTTP/1.0 200 OK\r\n\r\n":                                                        200,
		"HTTP/1.1 301 Moved\r\nLocation: https://elsewhere/\r\n\r\n":                     301,
		"HTTP/1.1 500 Whatever it says\r\n\r\n":                                          500,
		"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\n\r\nHTTP/1.1 404 No\r\n\r\n": 404,
		"HTTP/1.1 101 Switching\r\n\r\n":                                                 101,
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n":                          200,
	} {
		if code, err := parsed(t, "http://h/").Ask(t.Context(), says(text)); code != want || err != nil {
			t.Errorf("%q: %d, %v", text, code, err)
		}
	}
	for code, want := range map[int]bool{100: false, 101: false, 199: false, 200: true, 302: true, 399: true, 400: false, 500: false} {
		if Good(code) != want {
			t.Errorf("%d is good: %v", code, !want)
		}
	}
}

func TestWhyThereIsNoAnswerIsTold(t *testing.T) {
	refused := func(context.Context) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	}
	for want, dial := range map[string]Dial{
		"connection refused":     refused,
		"closed without one":     says(""),
		"what comes is not HTTP": says("220 mail.example.org ESMTP\r\n\r\n"),
		"a header of more than 1048576 bytes": server(func(c net.Conn) {
			_, _ = http.ReadRequest(bufio.NewReader(c))
			_, err := io.WriteString(c, "HTTP/1.1 200 OK\r\n")
			for err == nil {
				_, err = io.WriteString(c, "A: "+strings.Repeat("a", 1000)+"\r\n")
			}
		}),
		"one answer 1xx after the other": says(strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 100)),
		"somebody else has accepted":     func(context.Context) (net.Conn, error) { return nil, Reason("somebody else has accepted") },
	} {
		if code, err := parsed(t, "http://h/").Ask(t.Context(), dial); err == nil || err.Error() != want {
			t.Errorf("%d, %v; want %s", code, err, want)
		}
	}
}

func TestNothingTakesLongerThanItMay(t *testing.T) {
	for name, answer := range map[string]func(net.Conn){
		"takes nothing": func(c net.Conn) { time.Sleep(time.Hour) },
		"says nothing": func(c net.Conn) {
			_, _ = http.ReadRequest(bufio.NewReader(c))
			time.Sleep(time.Hour)
		},
		"says a byte a second": func(c net.Conn) {
			_, _ = http.ReadRequest(bufio.NewReader(c))
			for _, b := range []byte("HTTP/1.1 200 OK\r\nA: " + strings.Repeat("a", 100)) {
				if _, err := c.Write([]byte{b}); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		},
	} {
		for _, url := range []string{"http://h/", "https://h/"} {
			synctest.Test(t, func(t *testing.T) {
				begun := time.Now()
				code, err := parsed(t, url).Ask(t.Context(), server(answer))
				if took := time.Since(begun); took != AskTimeout || err == nil || err.Error() != "none in 5s" {
					// with https what says something says no TLS
					if name != "says a byte a second" || url != "https://h/" || took > AskTimeout {
						t.Errorf("%s, %s: %d, %v after %v", name, url, code, err, took)
					}
				}
				time.Sleep(2 * time.Hour)
			})
		}
	}
}

// The end of who asks is the end of an ask, whatever that waits for.
func TestAStopEndsAnAskAtOnce(t *testing.T) {
	for _, url := range []string{"http://h/", "https://h/"} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			stop := errors.New("stop")
			time.AfterFunc(time.Second, func() { cancel(stop) })
			begun := time.Now()
			err := parsed(t, url).Await(ctx, server(func(net.Conn) { time.Sleep(time.Hour) }), func(Answers) {})
			if took := time.Since(begun); took != time.Second || !errors.Is(err, stop) {
				t.Errorf("%v after %v", err, took)
			}
			time.Sleep(time.Hour)
		})
	}
}

func TestItIsAskedUntilTheAnswerIsGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		dial := func(ctx context.Context) (net.Conn, error) {
			n++
			text := "HTTP/1.1 500 No\r\n\r\n"
			if n > 7 {
				text = "HTTP/1.1 302 Yes\r\n\r\n"
			}
			return says(text)(ctx)
		}
		begun := time.Now()
		var told []string
		err := parsed(t, "http://h/").Await(t.Context(), dial, func(a Answers) { told = append(told, a.String()) })
		if took := time.Since(begun); err != nil || took != 7*every || len(told) != 7 || told[6] != "500 Internal Server Error, 7 times" {
			t.Errorf("%v after %v, %q", err, took, told)
		}
	})
}

func TestHowOftenWhichAnswerCameIsTold(t *testing.T) {
	for _, test := range []struct {
		answers []string // by turns, the last for ever
		want    string
	}{
		{[]string{"HTTP/1.1 500 No\r\n\r\n"}, "too slow: probe: 500 Internal Server Error, 40 times"},
		{[]string{"", "", "HTTP/1.1 503 No\r\n\r\n"}, "too slow: probe: 503 Service Unavailable, the last 38 of 40 times"},
		{[]string{"HTTP/1.1 799 No\r\n\r\n"}, "too slow: probe: 799, 40 times"},
		{[]string{""}, "too slow: probe: no answer (closed without one), 40 times"},
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeoutCause(t.Context(), 20*time.Second-time.Millisecond, errors.New("too slow"))
			defer cancel()
			n := -1
			dial := func(ctx context.Context) (net.Conn, error) {
				n = min(n+1, len(test.answers)-1)
				return says(test.answers[n])(ctx)
			}
			err := parsed(t, "http://h/").Await(ctx, dial, func(Answers) {})
			if err == nil || err.Error() != test.want {
				t.Errorf("%v, want %s", err, test.want)
			}
		})
	}
}

// What is cut off is none of the answers, unless it is all there is.
func TestAnAskThatIsCutOffIsNoAnswer(t *testing.T) {
	for limit, want := range map[time.Duration]string{
		time.Second:             "too slow: probe: no answer",
		7 * time.Second:         "too slow: probe: no answer (none in 5s), once",
		5200 * time.Millisecond: "too slow: probe: no answer (none in 5s), once",
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeoutCause(t.Context(), limit, errors.New("too slow"))
			defer cancel()
			err := parsed(t, "http://h/").Await(ctx, server(func(net.Conn) { time.Sleep(time.Hour) }), func(Answers) {})
			if err == nil || err.Error() != want {
				t.Errorf("%v, want %s", err, want)
			}
			time.Sleep(time.Hour)
		})
	}
}

// A connection has a clock of its own, which may tell sooner that the time is over.
func TestTheEndOfItsTimeIsNoReasonOfItsOwn(t *testing.T) {
	for _, over := range []error{os.ErrDeadlineExceeded, context.DeadlineExceeded} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeoutCause(t.Context(), 2*time.Second, errors.New("too slow"))
			defer cancel()
			dial := func(ctx context.Context) (net.Conn, error) {
				time.Sleep(time.Second - time.Millisecond)
				return nil, &net.OpError{Op: "dial", Err: over}
			}
			err := parsed(t, "http://h/").Await(ctx, dial, func(Answers) {})
			if err == nil || err.Error() != "too slow: probe: no answer" {
				t.Error(err)
			}
		})
	}
}

func TestWhatCanBeDoneGoesByTheAnswer(t *testing.T) {
	for why, want := range map[Reason]string{errClosed: "https://", errNotHTTP: "https://", errNoTLS: "http://, as"} {
		var a Answers
		a.add(0, why)
		if do := (&UnansweredError{a}).Advice("LINES"); !strings.Contains(do, want) {
			t.Errorf("%s: %s", why, do)
		}
	}
	for code, want := range map[int]string{0: "see LINES", 400: "ALLOWED_HOSTS", 403: "login", 404: "has", 500: "READY_TIMEOUT"} {
		var a Answers
		a.add(code, nil)
		if do := (&UnansweredError{a}).Advice("LINES"); !strings.Contains(do, want) {
			t.Errorf("%d: %s", code, do)
		}
	}
}

func TestTheCertificateIsNotCheckedAndHOSTIsTheServerName(t *testing.T) {
	names := make(chan string, 1)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Host) }))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.TLS = &tls.Config{GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		names <- hello.ServerName
		return nil, nil
	}}
	s.StartTLS()
	defer s.Close()
	dial := func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", s.Listener.Addr().String())
	}
	if code, err := parsed(t, "https://another.invalid:8443/").Ask(t.Context(), dial); code != 200 || err != nil {
		t.Errorf("%d, %v", code, err)
	}
	if name := <-names; name != "another.invalid" {
		t.Errorf("the server name is %q", name)
	}
	if code, err := parsed(t, "http://another.invalid/").Ask(t.Context(), dial); code != 400 && err == nil {
		t.Errorf("http to one with TLS: %d, %v", code, err)
	}
}

// Of who is dismissed the server's log has nothing.
func TestWhoIsDismissedLeavesInGoodOrder(t *testing.T) {
	said := make(chan string, 100)
	closed := make(chan bool, 100)
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.Config.ErrorLog = log.New(writer(func(b []byte) { said <- string(b) }), "", 0)
	s.Config.ConnState = func(_ net.Conn, is http.ConnState) {
		if is == http.StateClosed {
			closed <- true
		}
	}
	s.StartTLS()
	defer s.Close()
	conn, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	parsed(t, "https://h/").Dismiss(conn)
	<-closed
	select {
	case line := <-said:
		t.Error(line)
	default:
	}
}

type writer func([]byte)

func (w writer) Write(b []byte) (int, error) {
	w(b)
	return len(b), nil
}

func TestWhatSpeaksNoTLSIsTold(t *testing.T) {
	s := httptest.NewServer(http.NotFoundHandler())
	defer s.Close()
	dial := func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", s.Listener.Addr().String())
	}
	if code, err := parsed(t, "https://h/").Ask(t.Context(), dial); err == nil || err.Error() != "what comes is no TLS" {
		t.Errorf("%d, %v", code, err)
	}
}
