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
	"time"

	"golang.org/x/sys/unix"

	"github.com/stablehand/stablehand/entrypoint/status"
)

// Loop is who answers: the one event loop. Its methods may be called from any
// goroutine and return when the loop has answered or ctx is done.
type Loop interface {
	// Status is how things stand, but for what is watched. One at a time is
	// asked for.
	Status(ctx context.Context) (status.Status, error)

	// Watched is what the watched paths lead to, as far as it can be told before
	// ctx is done: a file system may hang. It leaves nothing behind for each time
	// that it is asked.
	Watched(ctx context.Context) []status.Watched

	// Reload asks for a handoff, for as long as ctx lasts: if it is done before
	// the handoff has begun, nothing is asked for any more, and one that nobody
	// else wants does not come. A handoff that has begun goes on. The channel
	// yields it as it moves on, the newest if it is read slowly, and is closed
	// after the one that is over. The error is ErrNoHandoff where there will be
	// none.
	Reload(ctx context.Context) (<-chan status.Handoff, error)

	// ReloadSoon asks for a handoff that nobody follows, and which comes whatever
	// becomes of ctx once it returns nil. One at a time is asked for.
	ReloadSoon(ctx context.Context) error
}

// ErrNoHandoff is the error of asking a container for a handoff that is about
// to end.
var ErrNoHandoff = errors.New("stablehand is stopping")

// errSlow is why nobody waits for the loop any more.
var errSlow = errors.New("the loop does not turn")

const (
	// loopTimeout is how long the loop may take to answer. It never waits for
	// anything itself: this is for a machine that stands still.
	loopTimeout = 5 * time.Second

	// watchedTimeout is how long a look at what is watched may hold up the rest of
	// a status.
	watchedTimeout = time.Second

	// maxFollowers is how many may wait for the end of a handoff at a time. Each
	// has a connection for as long as that takes.
	maxFollowers = 32

	// Limits of the clients. Nobody has more than a line to say.
	headerTimeout = 5 * time.Second
	writeTimeout  = 10 * time.Second
	idleTimeout   = time.Minute
	closeGrace    = 200 * time.Millisecond // for what is to be written once more: how a handoff ended
	maxConns      = 64                     // of each listener
	maxHeader     = 8 << 10
	maxBody       = 1 << 10
)

// Server answers at a socket, and at an address if there is one.
type Server struct {
	loop      Loop
	standing  turns[status.Status]
	soon      turns[struct{}]
	followers chan struct{} // has a place for each
	servers   []*http.Server
}

// Serve begins to answer at the listeners, of which each may be nil. It takes
// them over.
func Serve(loop Loop, socket, address net.Listener, log *slog.Logger) *Server {
	s := newServer(loop)
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

func newServer(loop Loop) *Server {
	return &Server{
		loop:     loop,
		standing: turns[status.Status]{limit: loopTimeout, ask: loop.Status},
		soon: turns[struct{}]{limit: loopTimeout, ask: func(ctx context.Context) (struct{}, error) {
			return struct{}{}, loop.ReloadSoon(ctx)
		}},
		followers: make(chan struct{}, maxFollowers),
	}
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
	crowd := newCrowd(maxConns)
	h = http.NewCrossOriginProtection().Handler(http.MaxBytesHandler(h, maxBody)) // no web page gives orders
	server := &http.Server{
		Handler:           crowd.heard(h),
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       headerTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		ConnContext:       withConn,
		ConnState:         crowd.note,
	}
	s.servers = append(s.servers, server)
	go func() {
		if err := server.Serve(at); err != http.ErrServerClosed {
			log.Error("nobody is answered at this address any more", "address", at.Addr(), "reason", err,
				"do", "start the container anew when it suits: gunicorn goes on")
		}
	}()
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
		if cred, err := peer(conn); err != nil || cred.Uid != 0 && int(cred.Uid) != os.Geteuid() {
			http.Error(w, "only stablehand's own user and root may ask", http.StatusForbidden)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// peer is the process at the other end, as the kernel has noted it.
func peer(conn *net.UnixConn) (cred *unix.Ucred, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	var cerr error
	err = raw.Control(func(fd uintptr) { cred, cerr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err := errors.Join(err, cerr); err != nil {
		return nil, err
	}
	return cred, nil
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
func (s *Server) ask(w http.ResponseWriter, r *http.Request) (status.Status, bool) {
	ctx, cancel := context.WithTimeoutCause(r.Context(), loopTimeout, errSlow)
	defer cancel()
	status, err := s.standing.get(ctx)
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

func (s *Server) status(w http.ResponseWriter, r *http.Request) {
	status, ok := s.ask(w, r)
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), watchedTimeout)
	defer cancel()
	status.Watch = s.loop.Watched(ctx)
	answerJSON(w, http.StatusOK, status)
}

func answerJSON(w http.ResponseWriter, code int, what any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(what) // who has gone needs no answer
}
