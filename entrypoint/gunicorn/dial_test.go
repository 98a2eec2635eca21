package gunicorn

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func dismiss(conn net.Conn) { conn.Close() }

// answers asks over a connection which worker answers.
func answers(t *testing.T, conn net.Conn) (worker int) {
	t.Helper()
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(deadline)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, "GET /pid HTTP/1.0\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	worker, err = strconv.Atoi(string(body))
	if err != nil {
		t.Fatal(err)
	}
	return worker
}

// Both generations accept from one socket, and each is talked to.
func TestWhoDialsAGenerationTalksToItsWorkers(t *testing.T) {
	for _, version := range []string{"20.1.0", "27.0.1"} {
		for _, bind := range []string{"", "--bind=127.0.0.1:0", "--bind=[::]:0", "--bind=0.0.0.0:0"} {
			t.Run(version+" "+bind, func(t *testing.T) {
				words := []string{"--workers=2"}
				if bind != "" {
					words = append(words, bind)
				}
				old, _ := serve(t, version, words...)
				next, _, err := old.Spawn(limited(t))
				if err != nil {
					t.Fatal(err)
				}
				if err := next.Ready(limited(t), 2, func(Workers) {}); err != nil {
					t.Fatal(err)
				}
				for _, m := range []*Master{old, next} {
					for range 20 {
						conn, err := m.Dial(limited(t), 1, dismiss)
						if err != nil || conn.Unknown != nil {
							t.Fatal(err, conn)
						}
						if pid := answers(t, conn); !slices.Contains(children(t, m.PID()), pid) {
							t.Fatalf("worker %d answers, which is none of %d", pid, m.PID())
						}
					}
				}
			})
		}
	}
}

// A worker that is stopped accepts nothing: those of the other generation do.
func TestWhereOnlyOthersAcceptThatIsTold(t *testing.T) {
	old, _ := serve(t, "27.0.1", "--workers=1")
	next, _, err := old.Spawn(limited(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := next.Ready(limited(t), 1, func(Workers) {}); err != nil {
		t.Fatal(err)
	}
	stopped := children(t, next.PID())[0]
	unix.Kill(stopped, unix.SIGSTOP)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if conn, err := next.Dial(ctx, 1, dismiss); !Elsewhere(err) || !strings.HasPrefix(err.Error(), "workers of the other generation have accepted all ") {
		t.Errorf("%v, %v", conn, err)
	}
	unix.Kill(stopped, unix.SIGCONT)
}

func TestADialEndsWithItsContextAndItsMaster(t *testing.T) {
	m, _ := serve(t, "27.0.1", "--workers=1")
	worker := children(t, m.PID())[0]
	unix.Kill(worker, unix.SIGSTOP)
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("stopping")
	time.AfterFunc(100*time.Millisecond, func() { cancel(why) })
	if conn, err := m.Dial(ctx, 1, dismiss); err != why {
		t.Error(conn, err)
	}
	time.AfterFunc(100*time.Millisecond, func() { m.Signal(unix.SIGKILL) })
	conn, err := m.Dial(limited(t), 1, dismiss)
	if err == nil {
		t.Error(conn)
	}
	unix.Kill(worker, unix.SIGKILL)
}

// What a configuration listens on for something else is not gunicorn's.
func TestWhatTheMasterItselfAcceptsIsPassedOver(t *testing.T) {
	config := t.TempDir() + "/conf.py"
	text := `
import socket, threading
other = socket.socket()
other.bind(("127.0.0.1", 0))
other.listen()
def accepts():
    kept = []
    while True:
        kept.append(other.accept())
def when_ready(server):
    threading.Thread(target=accepts, daemon=True).start()
`
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	m, _ := serve(t, "27.0.1", "--workers=1", "--config="+config)
	conn, err := m.Dial(limited(t), 1, dismiss)
	if err != nil || conn.Unknown != nil {
		t.Fatal(err, conn)
	}
	if pid := answers(t, conn); !slices.Contains(children(t, m.PID()), pid) {
		t.Errorf("%d answers", pid)
	}
}

// Who accepts a connection and closes it at once cannot be told, and is not waited for.
func TestAConnectionThatIsClosedAtOnceEndsTheDial(t *testing.T) {
	config := t.TempDir() + "/conf.py"
	text := `
from gunicorn.workers.sync import SyncWorker
class Curt(SyncWorker):
    def accept(self, listener):
        conn, _ = listener.accept()
        conn.close()
worker_class = Curt
`
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, bind := range []string{"", "--bind=127.0.0.1:0"} {
		words := []string{"--workers=1", "--config=" + config}
		if bind != "" {
			words = append(words, bind)
		}
		m, _ := serve(t, "27.0.1", words...)
		for range 20 {
			conn, err := m.Dial(limited(t), 1, dismiss)
			if err == nil { // it was seen to be the worker's just before
				conn.Close()
				continue
			}
			if !errors.Is(err, io.EOF) {
				t.Fatalf("%q: %v, want %v", bind, err, io.EOF)
			}
		}
	}
}
