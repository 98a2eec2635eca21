package control

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Loop is who answers: the one event loop. Its methods may be called from any
// goroutine and return when the loop has answered or ctx is done.
type Loop interface {
	// Status is how things stand, but for what is watched.
	Status(ctx context.Context) (Status, error)

	// Watched is what the watched paths lead to.
	Watched() []Watched

	// Reload asks for a handoff. The channel yields it as it moves on, the
	// newest if it is read slowly, and is closed after the one that is over. The error is
	// ErrNoHandoff where there will be none.
	Reload(ctx context.Context) (<-chan Handoff, error)
}

// ErrNoHandoff is the error of asking a container for a handoff that is about
// to end.
var ErrNoHandoff = errors.New("stablehand is stopping")

const (
	// loopTimeout is how long the loop may take to answer. It never waits for
	// anything itself: this is for a machine that stands still.
	loopTimeout = 5 * time.Second

	// Limits of the clients. Nobody has more than a line to say.
	headerTimeout = 5 * time.Second
	writeTimeout  = 10 * time.Second
	idleTimeout   = time.Minute
	closeGrace    = 200 * time.Millisecond // for what is to be written once more: how a handoff ended
	maxConns      = 256
	maxHeader     = 8 << 10
	maxBody       = 1 << 10
)

// Server answers at a socket, and at an address if there is one.
type Server struct {
	loop    Loop
	servers []*http.Server
}

// Serve begins to answer at the listeners, of which each may be nil. It takes
// them over.
func Serve(loop Loop, socket, address net.Listener, log *slog.Logger) *Server {
	s := &Server{loop: loop}
	if socket != nil {
		mux := s.questions()
		mux.HandleFunc("GET /status", s.status)
		mux.HandleFunc("GET /healthz", s.healthz)
		mux.HandleFunc("POST /-/reload", s.reload)
		s.serve(socket, ownerOnly(mux), log)
	}
	if address != nil {
		mux := s.questions()
		mux.HandleFunc("POST /-/reload", fromLoopback(s.reload))
		s.serve(address, mux, log)
	}
	return s
}

// questions are those that everybody may ask.
func (s *Server) questions() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", s.livez)
	mux.HandleFunc("GET /readyz", s.readyz)
	mux.HandleFunc("GET /metrics", s.metrics)
	return mux
}

func (s *Server) serve(at net.Listener, h http.Handler, log *slog.Logger) {
	server := &http.Server{
		Handler:           http.NewCrossOriginProtection().Handler(http.MaxBytesHandler(h, maxBody)), // no web page gives orders
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       headerTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		ConnContext:       withConn,
		ConnState:         atMost(maxConns),
	}
	s.servers = append(s.servers, server)
	go server.Serve(at)
}

// Close removes the socket and ends every conversation, those with something
// left to say after closeGrace.
func (s *Server) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), closeGrace)
	defer cancel()
	for _, server := range s.servers {
		if server.Shutdown(ctx) != nil {
			server.Close()
		}
	}
}

// atMost closes what connects beyond a number of connections: each takes a
// descriptor and some memory, which are gunicorn's in the end.
func atMost(limit int64) func(net.Conn, http.ConnState) {
	var open atomic.Int64
	return func(c net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			if open.Add(1) > limit {
				c.Close()
			}
		case http.StateClosed, http.StateHijacked:
			open.Add(-1)
		}
	}
}

// keyConn is where a request's connection is kept.
type keyConn struct{}

func withConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, keyConn{}, c)
}

// ownerOnly lets processes of our own user ask, and root's. The mode of the
// socket keeps others out already, but for those who may override it.
func ownerOnly(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, _ := r.Context().Value(keyConn{}).(*net.UnixConn)
		if uid, err := peer(conn); err != nil || uid != 0 && uid != os.Geteuid() {
			http.Error(w, "only stablehand's own user and root may ask", http.StatusForbidden)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// peer is the user at the other end, as the kernel has noted it.
func peer(conn *net.UnixConn) (uid int, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	var cerr error
	err = raw.Control(func(fd uintptr) { cred, cerr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err := errors.Join(err, cerr); err != nil {
		return 0, err
	}
	return int(cred.Uid), nil
}

// fromLoopback takes orders from this machine, or this pod, only.
func fromLoopback(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		from, err := netip.ParseAddrPort(r.RemoteAddr)
		if err != nil || !from.Addr().Unmap().IsLoopback() {
			http.Error(w, "a reload is taken from loopback only", http.StatusForbidden)
			return
		}
		h(w, r)
	}
}

// ask has the loop say how things stand. It has answered the request where
// the loop does not.
func (s *Server) ask(w http.ResponseWriter, r *http.Request) (Status, bool) {
	ctx, cancel := context.WithTimeout(r.Context(), loopTimeout)
	defer cancel()
	status, err := s.loop.Status(ctx)
	if err != nil {
		http.Error(w, "no answer: "+err.Error(), http.StatusServiceUnavailable)
	}
	return status, err == nil
}

func (s *Server) livez(w http.ResponseWriter, r *http.Request) {
	if _, ok := s.ask(w, r); ok {
		w.Write([]byte("ok\n"))
	}
}

func (s *Server) readyz(w http.ResponseWriter, r *http.Request) {
	if status, ok := s.ask(w, r); ok {
		answer(w, status.NotReady())
	}
}

func (s *Server) healthz(w http.ResponseWriter, r *http.Request) {
	if status, ok := s.ask(w, r); ok {
		answer(w, status.NotServing())
	}
}

// answer says ok, or why not.
func answer(w http.ResponseWriter, why string) {
	if why != "" {
		http.Error(w, why, http.StatusServiceUnavailable)
		return
	}
	w.Write([]byte("ok\n"))
}

// NotServing says why no ready generation serves; it is empty if one does.
func (s Status) NotServing() string {
	switch g := s.Serving; {
	case g == nil && s.Phase == Serving:
		return "gunicorn's master has ended"
	case g == nil:
		return s.Phase
	case g.Ready == 0 && !g.Blind:
		return "no worker is ready"
	}
	return ""
}

// NotReady says why the container is to get no new requests; it is empty if it
// is to get them.
func (s Status) NotReady() string {
	if s.Phase != Serving {
		return s.Phase
	}
	return s.NotServing()
}

func (s *Server) status(w http.ResponseWriter, r *http.Request) {
	status, ok := s.ask(w, r)
	if !ok {
		return
	}
	status.Watch = s.loop.Watched()
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(status)
}

const ndjson = "application/x-ndjson"

func (s *Server) reload(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), loopTimeout)
	defer cancel()
	handoff, err := s.loop.Reload(ctx)
	switch {
	case err != nil:
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	case r.URL.Query().Get("wait") == "false":
		w.WriteHeader(http.StatusAccepted)
	case strings.Contains(r.Header.Get("Accept"), ndjson):
		w.Header().Set("Content-Type", ndjson)
		follow(r.Context(), w, handoff)
	default:
		http.NewResponseController(w).SetWriteDeadline(time.Time{}) // it may take as long as it takes
		outcome(w, last(r.Context(), handoff))
	}
}

// follow writes the handoff each time that it has moved on.
func follow(ctx context.Context, w http.ResponseWriter, handoff <-chan Handoff) {
	out := http.NewResponseController(w)
	for {
		select {
		case h, ok := <-handoff:
			if !ok {
				return
			}
			out.SetWriteDeadline(time.Now().Add(writeTimeout))
			if json.NewEncoder(w).Encode(h) != nil || out.Flush() != nil {
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

// last waits for the handoff's end.
func last(ctx context.Context, handoff <-chan Handoff) (h Handoff) {
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

func outcome(w http.ResponseWriter, h Handoff) {
	code := http.StatusOK
	switch h.Outcome {
	case HandedOff:
	case Stopped:
		code = http.StatusServiceUnavailable
	default:
		code = http.StatusInternalServerError
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	json.NewEncoder(w).Encode(h)
}
