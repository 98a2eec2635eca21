package control

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/stablehand/stablehand/entrypoint/status"
)

const ndjson = "application/x-ndjson"

func (s *Server) reload(w http.ResponseWriter, r *http.Request) {
	if r.URL.Query().Get("wait") == "false" {
		s.reloadSoon(w, r)
		return
	}
	select {
	case s.followers <- struct{}{}:
		defer func() { <-s.followers }()
	default:
		http.Error(w, fmt.Sprintf("%d reloads are waited for already: ask with ?wait=false, or wait", maxFollowers), http.StatusServiceUnavailable)
		return
	}
	// The server sees that a client has gone once it has read all the request.
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		http.Error(w, "nothing is asked for: the request is not whole: "+err.Error(), http.StatusBadRequest)
		return
	}
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	handoff, err := s.asked(ctx, cancel)
	switch {
	case err != nil:
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	case strings.Contains(r.Header.Get("Accept"), ndjson):
		w.Header().Set("Content-Type", ndjson)
		follow(ctx, w, handoff)
	default:
		// It may take as long as it takes; who has gone meanwhile needs no answer.
		_ = http.NewResponseController(w).SetWriteDeadline(time.Time{})
		outcome(w, last(ctx, handoff))
	}
}

// asked asks the loop for a handoff, for as long as ctx lasts. Where the loop
// does not answer in time, ctx is ended, so that nothing is asked for any more.
func (s *Server) asked(ctx context.Context, cancel context.CancelCauseFunc) (<-chan status.Handoff, error) {
	late := time.AfterFunc(loopTimeout, func() { cancel(errSlow) })
	handoff, err := s.loop.Reload(ctx)
	if !late.Stop() {
		err = errSlow
	}
	return handoff, err
}

// reloadSoon asks for a handoff and leaves. Of those who ask at the same time the
// loop hears once: one handoff is what they get.
func (s *Server) reloadSoon(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeoutCause(r.Context(), loopTimeout, errSlow)
	defer cancel()
	if _, err := s.soon.get(ctx); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	w.WriteHeader(http.StatusAccepted)
}

// follow writes the handoff each time that it has moved on.
func follow(ctx context.Context, w http.ResponseWriter, handoff <-chan status.Handoff) {
	out := http.NewResponseController(w)
	for {
		select {
		case h, ok := <-handoff:
			if !ok {
				return
			}
			if out.SetWriteDeadline(time.Now().Add(writeTimeout)) != nil {
				return
			}
			if json.NewEncoder(w).Encode(h) != nil || out.Flush() != nil {
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

// last waits for the handoff's end.
func last(ctx context.Context, handoff <-chan status.Handoff) (h status.Handoff) {
	for {
		select {
		case now, ok := <-handoff:
			if !ok {
				return h
			}
			h = now
		case <-ctx.Done():
			return h
		}
	}
}

func outcome(w http.ResponseWriter, h status.Handoff) {
	code := http.StatusOK
	switch h.Outcome {
	case status.HandedOff:
	case status.Stopped:
		code = http.StatusServiceUnavailable
	default:
		code = http.StatusInternalServerError
	}
	answerJSON(w, code, h)
}
