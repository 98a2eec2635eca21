package control

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stablehand/stablehand/entrypoint/status"
)

// fakeLoop answers as it is told to.
type fakeLoop struct {
	status   status.Status
	refused  error
	handoffs chan status.Handoff // what a reload yields
}

func (l *fakeLoop) Status(context.Context) (status.Status, error) { return l.status, l.refused }
func (l *fakeLoop) Watched(context.Context) []status.Watched {
	return []status.Watched{{Path: "/etc/app"}}
}
func (l *fakeLoop) ReloadSoon(context.Context) error { return l.refused }
func (l *fakeLoop) Reload(context.Context) (<-chan status.Handoff, error) {
	return l.handoffs, l.refused
}

var servingStatus = status.Status{Phase: status.Serving, Serving: &status.Generation{Number: 1, PID: 7, Workers: status.Workers{All: 2, Ready: 2}}}

// serve answers for the loop at a socket, and returns its path and a client.
func serve(t *testing.T, loop Loop) (string, *Client) {
	t.Helper()
	path := said(t)
	socket, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	s := Serve(loop, socket, nil, slog.New(slog.DiscardHandler))
	t.Cleanup(s.Close)
	return path, NewClient(path)
}

func TestProbesTellHowThingsStand(t *testing.T) {
	one := func(w status.Workers) *status.Generation { return &status.Generation{Number: 1, Workers: w} }
	for _, test := range []struct {
		name           string
		status         status.Status
		serving, ready string // why not
	}{
		{"booting", status.Status{Phase: status.Booting}, "booting", "booting"},
		{"serving", servingStatus, "", ""},
		{"one worker is being replaced", status.Status{Phase: status.Serving, Serving: one(status.Workers{All: 2, Ready: 1})}, "", ""},
		{"readiness is not known", status.Status{Phase: status.Serving, Serving: one(status.Workers{All: 2, Blind: true})}, "", ""},
		{"no worker is ready", status.Status{Phase: status.Serving, Serving: one(status.Workers{All: 2})}, "no worker is ready", "no worker is ready"},
		{"the master has died", status.Status{Phase: status.Serving}, "gunicorn's master has ended", "gunicorn's master has ended"},
		{"stopping, and serving still", status.Status{Phase: status.Stopping, Serving: servingStatus.Serving}, "", "stopping"},
		{"stopping", status.Status{Phase: status.Stopping}, "stopping", "stopping"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, client := serve(t, &fakeLoop{status: test.status})
			if got := text(client.Serving(t.Context(), false)); got != test.serving {
				t.Errorf("serving: %q, want %q", got, test.serving)
			}
			if got := text(client.Serving(t.Context(), true)); got != test.ready {
				t.Errorf("ready: %q, want %q", got, test.ready)
			}
		})
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestStatusIsToldInFull(t *testing.T) {
	_, client := serve(t, &fakeLoop{status: servingStatus})
	status, err := client.Status(t.Context())
	if err != nil || status.Serving.PID != 7 || len(status.Watch) != 1 {
		t.Errorf("got %+v, %v", status, err)
	}
}

// hangs is a loop that watches a file system which does not answer.
type hangs struct{ fakeLoop }

func (h *hangs) Watched(ctx context.Context) []status.Watched {
	<-ctx.Done()
	return []status.Watched{{Path: "/mnt", Faults: []string{"does not answer"}}}
}

func TestAFileSystemThatHangsIsToldOf(t *testing.T) {
	t.Parallel()
	_, client := serve(t, &hangs{fakeLoop{status: servingStatus}})
	status, err := client.Status(t.Context())
	if err != nil || status.Serving.PID != 7 || len(status.Watch) != 1 || len(status.Watch[0].Faults) != 1 {
		t.Errorf("got %+v, %v", status, err)
	}
}

func TestNobodyListens(t *testing.T) {
	if _, err := NewClient(said(t)).Status(t.Context()); !errors.Is(err, ErrNothingRuns) {
		t.Errorf("got %v, want ErrNothingRuns", err)
	}
}

func TestAReloadIsFollowedToItsEnd(t *testing.T) {
	handoffs := make(chan status.Handoff)
	_, client := serve(t, &fakeLoop{handoffs: handoffs})
	go func() {
		defer close(handoffs)
		for _, step := range []status.Step{status.Wait, status.Spawn, status.Warm} {
			handoffs <- status.Handoff{Step: step}
		}
		handoffs <- status.Handoff{Step: "warm", Outcome: status.RolledBack, Failure: "why"}
	}()
	var steps []string
	h, err := client.Reload(t.Context(), func(h status.Handoff) { steps = append(steps, string(h.Step)) })
	if err != nil || h.Failure != "why" || strings.Join(steps, " ") != "wait spawn warm warm" {
		t.Errorf("got %+v, %v by way of %q", h, err, steps)
	}
}

// Each state is written as soon as it is told, and not when there are enough.
func TestEachStateIsWrittenAtOnce(t *testing.T) {
	handoffs := make(chan status.Handoff)
	defer close(handoffs)
	_, client := serve(t, &fakeLoop{handoffs: handoffs})
	seen := make(chan status.Handoff)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go client.Reload(ctx, func(h status.Handoff) { seen <- h })
	for _, step := range []status.Step{status.Spawn, status.Warm} {
		handoffs <- status.Handoff{Step: step}
		if h := <-seen; h.Step != step {
			t.Errorf("got %+v, want step %s", h, step)
		}
	}
}

func TestAReloadWithoutAnEndIsAnError(t *testing.T) {
	handoffs := make(chan status.Handoff, 1)
	handoffs <- status.Handoff{Step: "spawn"}
	close(handoffs)
	_, client := serve(t, &fakeLoop{handoffs: handoffs})
	if _, err := client.Reload(t.Context(), func(status.Handoff) {}); err == nil || !strings.Contains(err.Error(), "ended before") {
		t.Errorf("got %v", err)
	}
}

func TestAReloadIsRefusedWhileStopping(t *testing.T) {
	_, client := serve(t, &fakeLoop{refused: ErrNoHandoff})
	for name, err := range map[string]error{
		"wait":    func() error { _, err := client.Reload(t.Context(), nil); return err }(),
		"no wait": client.ReloadSoon(t.Context()),
	} {
		if err == nil || err.Error() != ErrNoHandoff.Error() {
			t.Errorf("%s: got %v, want %v", name, err, ErrNoHandoff)
		}
	}
}

// A reload by curl waits for the end, and its status tells the outcome.
func TestAnAnswerTellsTheOutcome(t *testing.T) {
	for outcome, code := range map[string]int{status.HandedOff: 200, status.RolledBack: 500, status.Lost: 500, status.Stopped: 503} {
		handoffs := make(chan status.Handoff, 1)
		handoffs <- status.Handoff{Outcome: outcome}
		close(handoffs)
		s := newServer(&fakeLoop{handoffs: handoffs})
		w := httptest.NewRecorder()
		s.reload(w, httptest.NewRequest("POST", "/-/reload", nil))
		var h status.Handoff
		if err := json.Unmarshal(w.Body.Bytes(), &h); err != nil || h.Outcome != outcome || w.Code != code {
			t.Errorf("%s: %d %s, want code %d", outcome, w.Code, w.Body, code)
		}
	}
}

func TestOrdersAreTakenFromLoopbackOnly(t *testing.T) {
	s := newServer(&fakeLoop{})
	for from, code := range map[string]int{
		"127.0.0.1:5":          202,
		"127.8.8.8:5":          202,
		"[::1]:5":              202,
		"[::ffff:127.0.0.1]:5": 202,
		"192.0.2.1:5":          403,
		"10.0.0.1:5":           403,
		"[2001:db8::1]:5":      403,
		"[fe80::1%eth0]:5":     403,
		"[::ffff:10.0.0.1]:5":  403,
		"[::]:5":               403,
		"":                     403,
		"@":                    403,
	} {
		r := httptest.NewRequest("POST", "/-/reload?wait=false", nil)
		r.RemoteAddr = from
		w := httptest.NewRecorder()
		fromLoopback(s.reload)(w, r)
		if w.Code != code {
			t.Errorf("from %q: code %d, want %d", from, w.Code, code)
		}
	}
}

// What names files and processes is told on the socket only.
func TestTheAddressTellsNoSecrets(t *testing.T) {
	at, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer Serve(&fakeLoop{status: servingStatus}, nil, at, slog.New(slog.DiscardHandler)).Close()
	for path, code := range map[string]int{"/livez": 200, "/readyz": 200, "/status": 404, "/-/reload": 405, "/": 404} {
		answer, err := http.Get("http://" + at.Addr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != code {
			t.Errorf("%s: code %d, want %d", path, answer.StatusCode, code)
		}
	}
}

// The mode of the socket keeps other users out; where somebody has changed it
// the kernel still tells who asks.
func TestAnotherUserIsRefused(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can ask as another user")
	}
	path, _ := serve(t, &fakeLoop{status: servingStatus})
	if err := errors.Join(os.Chmod(filepath.Dir(path), 0o755), os.Chmod(path, 0o666)); err != nil {
		t.Fatal(err)
	}
	for uid, code := range map[int]int{0: 200, nobody: 403} {
		conn := asUser(t, uid, func(fd int) error { return unix.Connect(fd, &unix.SockaddrUnix{Name: path}) })
		defer conn.Close()
		io.WriteString(conn, "GET /healthz HTTP/1.1\r\nHost: stablehand\r\n\r\n")
		answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || answer.StatusCode != code {
			t.Errorf("uid %d: %v, %v, want code %d", uid, answer, err, code)
		}
	}
}

// Among the temporary files somebody else may listen in our name.
func TestAnImpostorIsNotBelieved(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can listen as another user")
	}
	places(t)
	path := Paths("")[2]
	if err := errors.Join(os.Mkdir(filepath.Dir(path), 0o777), os.Chmod(filepath.Dir(path), 0o777),
		os.Chmod(os.TempDir(), 0o777)); err != nil {
		t.Fatal(err)
	}
	impostor := asUser(t, nobody, func(fd int) error {
		return errors.Join(unix.Bind(fd, &unix.SockaddrUnix{Name: path}), unix.Listen(fd, 1))
	})
	defer impostor.Close()
	if err := NewClient("").Serving(t.Context(), false); err == nil || !strings.Contains(err.Error(), "not believed to listen there") {
		t.Errorf("got %v", err)
	}
}

// A place that the other side had to pass over does not stop the search either.
func TestTheSearchGoesOnWhereAPlaceIsNoGood(t *testing.T) {
	for name, spoil := range map[string]func(dir string) error{
		"too long": func(dir string) error {
			return os.Setenv("XDG_RUNTIME_DIR", filepath.Join(dir, strings.Repeat("x", maxPath)))
		},
		"a file": func(dir string) error { return os.WriteFile(filepath.Join(dir, "stablehand"), nil, 0o600) },
		"not a socket": func(dir string) error {
			return errors.Join(os.Mkdir(filepath.Join(dir, "stablehand"), 0o700), os.Mkdir(Paths("")[0], 0o700))
		},
	} {
		t.Run(name, func(t *testing.T) {
			if err := spoil(places(t)); err != nil {
				t.Fatal(err)
			}
			defer Serve(&fakeLoop{status: servingStatus}, listens(t, ""), nil, slog.New(slog.DiscardHandler)).Close()
			if err := NewClient("").Serving(t.Context(), false); err != nil {
				t.Error(err)
			}
		})
	}
}

// asUser makes a socket, does something with it in a thread that is another
// user's, and returns it.
func asUser(t *testing.T, uid int, do func(fd int) error) *os.File {
	t.Helper()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // for ever: the thread ends with the goroutine
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid)); errno != 0 {
			done <- errno
			return
		}
		done <- do(fd)
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return os.NewFile(uintptr(fd), "socket")
}

// Who says nothing, or too much, is cut off, and nobody waits for it.
func TestClientsAreLimited(t *testing.T) {
	for _, test := range []struct{ name, says, answer string }{
		{"nothing", "", ""},
		{"half a header", "GET /status HTTP/1.1\r\nHost: x", ""},
		{"a long header", "GET /status HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 2*maxHeader) + "\r\n\r\n", "431"},
		{"a body that does not come", "POST /-/reload?wait=false HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n", "202"},
		{"a body without end", "POST /-/reload?wait=false HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n" + strings.Repeat("x", 100*maxBody), "202"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			path, client := serve(t, &fakeLoop{status: servingStatus})
			conn, err := net.Dial("unix", path)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			go io.WriteString(conn, test.says)
			if err := client.Serving(t.Context(), true); err != nil {
				t.Errorf("meanwhile: %v", err)
			}
			conn.SetReadDeadline(time.Now().Add(3 * headerTimeout))
			said, err := io.ReadAll(conn)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error("it was not cut off")
			}
			if !bytes.Contains(said, []byte(test.answer)) {
				t.Errorf("it was told %q, want %s", said, test.answer)
			}
		})
	}
}

// Close does not wait for those who have nothing to be told, and lets those
// read who have.
func TestCloseLetsTheOutcomeOut(t *testing.T) {
	for range 5 {
		path := said(t)
		handoffs := make(chan status.Handoff, 1)
		s := Serve(&fakeLoop{handoffs: handoffs}, listens(t, path), nil, slog.New(slog.DiscardHandler))
		silent, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		defer silent.Close()
		asked, ended := make(chan status.Handoff, 9), make(chan error)
		handoffs <- status.Handoff{Step: "warm"}
		go func() {
			_, err := NewClient(path).Reload(t.Context(), func(h status.Handoff) { asked <- h })
			ended <- err
		}()
		<-asked
		handoffs <- status.Handoff{Step: "warm", Outcome: status.Lost}
		close(handoffs)
		s.Close()
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		if _, err := os.Lstat(path); err == nil {
			t.Error("the socket is still there")
		}
	}
}

// deafListener is one whose socket fails for good.
type deafListener struct{ net.Listener }

func (deafListener) Accept() (net.Conn, error) { return nil, unix.EINVAL }

func TestTheEndOfAnsweringIsToldOf(t *testing.T) {
	at, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	said := make(chan string, 1)
	log := slog.New(slog.NewTextHandler(writerFunc(func(line []byte) { said <- string(line) }), nil))
	defer Serve(&fakeLoop{status: servingStatus}, nil, deafListener{at}, log).Close()
	if line := <-said; !strings.Contains(line, "nobody is answered") || !strings.Contains(line, "invalid argument") {
		t.Error(line)
	}
}

type writerFunc func([]byte)

func (w writerFunc) Write(b []byte) (int, error) {
	w(b)
	return len(b), nil
}
