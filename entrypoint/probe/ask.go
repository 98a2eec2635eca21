package probe

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"
)

// AskTimeout is how long one ask may take, the connection included.
const AskTimeout = 5 * time.Second

const (
	// maxHeader is how much of an answer is read, in bytes: as much as net/http's own
	// client reads of a header.
	maxHeader = 1 << 20

	// maxInformal is how many answers 1xx may come before the one that counts: as many
	// as net/http's own client lets pass.
	maxInformal = 5
)

// Dial connects to who is asked.
type Dial func(context.Context) (net.Conn, error)

// Ask asks once, and returns the status of the answer, such as 200. An error means
// that there was none, and says why in a few words.
func (t Target) Ask(ctx context.Context, dial Dial) (status int, err error) {
	limited, cancel := context.WithTimeoutCause(ctx, AskTimeout, errTooLong)
	defer cancel()
	conn, err := dial(limited)
	if err == nil {
		defer conn.Close()
		over := context.AfterFunc(limited, func() { _ = conn.SetDeadline(time.Unix(1, 0)) }) // has all that waits come back
		defer over()
		status, err = t.ask(limited, conn)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) {
		<-limited.Done() // a connection's own clock may be a moment ahead
	}
	var reason Reason
	switch {
	case err == nil:
		return status, nil
	case limited.Err() != nil && (conn != nil || !errors.As(err, &reason)): // what has failed of that says less
		return 0, context.Cause(limited)
	}
	return 0, inWords(err)
}

func (t Target) ask(ctx context.Context, conn net.Conn) (status int, err error) {
	if config := t.tls(); config != nil {
		secure := tls.Client(conn, config)
		if err := secure.HandshakeContext(ctx); err != nil {
			return 0, noTLS(err)
		}
		conn = secure
	}
	if err := t.request().Write(conn); err != nil {
		return 0, err
	}
	return readStatus(conn)
}

// Dismiss closes a connection over which nothing is to be asked. With https that is after
// the handshake, which it does not wait for: servers log one that is cut off before, gevent
// with a traceback, and say nothing of a client that only has no request.
func (t Target) Dismiss(conn net.Conn) {
	config := t.tls()
	if config == nil {
		_ = conn.Close()
		return
	}
	go func() {
		defer conn.Close()
		if err := conn.SetDeadline(time.Now().Add(AskTimeout)); err != nil {
			return
		}
		secure := tls.Client(conn, config)
		if secure.Handshake() == nil {
			_ = secure.Close()
		}
	}()
}

// readStatus reads the header of an answer.
func readStatus(conn io.Reader) (status int, err error) {
	limited := &io.LimitedReader{R: conn, N: maxHeader}
	header := bufio.NewReader(limited)
	for range maxInformal + 1 {
		answer, err := http.ReadResponse(header, nil) // whose body is left where it is
		if err != nil && limited.N <= 0 {
			return 0, Reason(fmt.Sprintf("a header of more than %d bytes", maxHeader))
		}
		if err != nil {
			return 0, notHTTP(err)
		}
		if answer.StatusCode >= 200 || answer.StatusCode == http.StatusSwitchingProtocols {
			return answer.StatusCode, nil
		}
	}
	return 0, Reason("one answer 1xx after the other")
}

// Reason is why there was no answer, in a few words.
type Reason string

func (r Reason) Error() string { return string(r) }

var (
	errTooLong = Reason(fmt.Sprintf("none in %v", AskTimeout))
	errClosed  = Reason("closed without one")
	errNotHTTP = Reason("what comes is not HTTP")
	errNoTLS   = Reason("what comes is no TLS")
)

// noTLS is why there is none.
func noTLS(err error) error {
	if errors.As(err, new(tls.RecordHeaderError)) {
		return errNoTLS
	}
	if brief := inWords(err); errors.As(brief, new(Reason)) {
		return brief
	}
	return Reason("no TLS: " + err.Error())
}

// notHTTP is why no header could be read: the connection's error, or else what was read.
func notHTTP(err error) error {
	var failed net.Error
	if brief := inWords(err); errors.As(brief, new(Reason)) || errors.As(err, &failed) {
		return brief
	}
	return errNotHTTP
}

// inWords is an error as it is told: of a connection's without the addresses, which are of
// no matter here.
func inWords(err error) error {
	var reason Reason
	var failed *net.OpError
	var call *os.SyscallError
	switch {
	case errors.As(err, &reason):
		return reason
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errClosed
	case errors.As(err, &call):
		return Reason(call.Err.Error())
	case errors.As(err, &failed):
		return Reason(failed.Err.Error())
	}
	return err
}
