package probe

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

// every is the pause from the beginning of one ask to the next, where an ask does not
// take longer.
const every = 500 * time.Millisecond

// Answers is what has come of asking so far.
type Answers struct {
	Last  string // the last answer, such as "500 Internal Server Error", or "no answer" and why
	Times int    // how often that came in a row
	All   int    // asks

	code int   // of the last; 0 for none
	why  error // then, why
}

// String says what came, and how often.
func (a Answers) String() string {
	switch {
	case a.All == 0:
		return noAnswer
	case a.Times < a.All:
		return fmt.Sprintf("%s, the last %d of %d times", a.Last, a.Times, a.All)
	case a.Times == 1:
		return a.Last + ", once"
	}
	return fmt.Sprintf("%s, %d times", a.Last, a.Times)
}

const noAnswer = "no answer"

// add counts one more.
func (a *Answers) add(code int, why error) {
	last := noAnswer
	if code != 0 {
		last = Status(code)
	} else if why != nil {
		last += " (" + why.Error() + ")"
	}
	if last != a.Last {
		a.Times = 0
	}
	a.Last, a.code, a.why = last, code, why
	a.Times++
	a.All++
}

// Status is one in words. The server's own are not told: it may say anything there.
func Status(code int) string {
	if text := http.StatusText(code); text != "" {
		return fmt.Sprintf("%d %s", code, text)
	}
	return fmt.Sprint(code)
}

// UnansweredError is that there was no good answer.
type UnansweredError struct{ Answers }

func (e *UnansweredError) Error() string { return "probe: " + e.String() }

// Advice is what can be done about it, in which lines says where the server's own stand.
func (e *UnansweredError) Advice(lines string) string {
	switch e.code {
	case http.StatusBadRequest:
		return "see " + lines + "; if the application checks the Host header (Django's ALLOWED_HOSTS), let HOST of STABLEHAND_PROBE be one that it allows"
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusProxyAuthRequired:
		return "let STABLEHAND_PROBE name a page that needs no login"
	case http.StatusNotFound, http.StatusMethodNotAllowed:
		return "let STABLEHAND_PROBE name a page that the application has; it is asked for by GET"
	}
	switch e.why {
	case errNoTLS:
		return "let STABLEHAND_PROBE begin with http://, as gunicorn has no certificate"
	case errClosed, errNotHTTP:
		return "if gunicorn has a certificate, let STABLEHAND_PROBE begin with https://; otherwise see " + lines
	}
	return "see " + lines + " for what the page of STABLEHAND_PROBE fails of; if it only needs longer, raise STABLEHAND_READY_TIMEOUT"
}

// Await asks until an answer is good, and reports what has come whenever that is not.
// Where ctx ends before, the error is its cause and an [UnansweredError]. An ask that it
// cuts off counts for nothing, unless there was no other.
func (t Target) Await(ctx context.Context, dial Dial, report func(Answers)) error {
	var so Answers
	for {
		next := time.After(every)
		code, err := t.Ask(ctx, dial)
		if Good(code) {
			return nil
		}
		if ctx.Err() == nil {
			so.add(code, err)
			report(so)
		}
		select {
		case <-next:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%w: %w", context.Cause(ctx), &UnansweredError{so})
		}
	}
}

// Good says whether a status is that of a good answer.
func Good(code int) bool { return code >= 200 && code < 400 }
