package control

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stablehand/stablehand/entrypoint/status"
)

// orders is a loop that keeps what it is asked for.
type orders struct {
	fakeLoop
	soon  atomic.Int64
	wants chan context.Context // of each Reload
	slow  bool                 // does not answer
}

func (o *orders) Reload(ctx context.Context) (<-chan status.Handoff, error) {
	if o.slow {
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}
	o.wants <- ctx
	h := make(chan status.Handoff, 1)
	h <- status.Handoff{Step: "wait"}
	return h, nil
}

func (o *orders) ReloadSoon(context.Context) error {
	o.soon.Add(1)
	return nil
}

// Who has gone wants nothing any more, however they asked, and whenever: also
// when the time to read a request is long over.
func TestWhoHasGoneAsksForNothing(t *testing.T) {
	t.Parallel()
	o := &orders{wants: make(chan context.Context, 1)}
	path := said(t)
	address, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := Serve(o, listens(t, path), address, slog.New(slog.DiscardHandler))
	t.Cleanup(s.Close)
	for _, server := range s.servers {
		if server.ReadTimeout == 0 {
			t.Fatal("there is no time limit that this could be about")
		}
	}
	for network, at := range map[string]string{"unix": path, "tcp": address.Addr().String()} {
		for name, request := range map[string]string{
			"curl":       "POST /-/reload HTTP/1.1\r\nHost: x\r\n\r\n",
			"stablehand": "POST /-/reload HTTP/1.1\r\nHost: x\r\nAccept: " + ndjson + "\r\nConnection: close\r\n\r\n",
			"body":       "POST /-/reload HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n{}\n",
			"chunks":     "POST /-/reload HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
		} {
			for _, stay := range []time.Duration{0, headerTimeout + time.Second} {
				if stay > 0 && (testing.Short() || network+name != "unixstablehand" && network+name != "tcpcurl") {
					continue
				}
				conn, err := net.Dial(network, at)
				if err != nil {
					t.Fatal(err)
				}
				io.WriteString(conn, request)
				wanted := <-o.wants
				select {
				case <-wanted.Done():
					t.Errorf("%s, %s: it was given up while it was waited for: %v", network, name, context.Cause(wanted))
				case <-time.After(stay):
				}
				conn.Close()
				select {
				case <-wanted.Done():
				case <-time.After(patience):
					t.Fatalf("%s, %s: who has gone is not missed", network, name)
				}
			}
		}
	}
}

// A request of which the body does not come asks for nothing.
func TestHalfARequestAsksForNothing(t *testing.T) {
	t.Parallel()
	o := &orders{wants: make(chan context.Context, 1)}
	path, _ := serve(t, o)
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, "POST /-/reload HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || answer.StatusCode != http.StatusBadRequest || len(o.wants) > 0 {
		t.Errorf("%v, %v, %d wants", answer, err, len(o.wants))
	}
}

func TestALoopThatIsSlowIsAskedForNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		s := newServer(&orders{slow: true})
		if _, err := s.asked(ctx, cancel); !errors.Is(err, errSlow) || ctx.Err() == nil {
			t.Errorf("got %v, and the order stands: %v", err, ctx.Err() == nil)
		}
	})
}

// An order is wanted for longer than the loop may take to answer.
func TestAnOrderOutlivesTheAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		s := newServer(&orders{wants: make(chan context.Context, 1)})
		if _, err := s.asked(ctx, cancel); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if ctx.Err() != nil {
			t.Error("it is not wanted any more:", context.Cause(ctx))
		}
	})
}

func TestFewMayWait(t *testing.T) {
	o := &orders{wants: make(chan context.Context, maxFollowers)}
	_, client := serve(t, o)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var waiting sync.WaitGroup
	for range maxFollowers {
		waiting.Go(func() { client.Reload(ctx, func(status.Handoff) {}) })
		<-o.wants
	}
	_, err := client.Reload(ctx, nil)
	if err == nil || !strings.Contains(err.Error(), fmt.Sprint(maxFollowers)+" reloads are waited for already") {
		t.Errorf("got %v", err)
	}
	if err := client.ReloadSoon(ctx); err != nil {
		t.Errorf("who does not wait: %v", err)
	}
	cancel()
	waiting.Wait()
	for { // the places are free once the server has noticed
		one, left := context.WithCancel(t.Context())
		defer left()
		asked := make(chan error, 1)
		go func() {
			_, err := client.Reload(one, func(status.Handoff) {})
			asked <- err
		}()
		select {
		case <-o.wants:
			return
		case err := <-asked:
			if !strings.Contains(fmt.Sprint(err), "waited for already") {
				t.Fatal(err)
			}
		case <-time.After(patience):
			t.Fatal("no place is free")
		}
	}
}

// However many ask and do not wait, nothing is left of them.
func TestAFloodOfReloadsLeavesNothing(t *testing.T) {
	const all, clients = 20_000, 50
	o := &orders{}
	at, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := Serve(o, nil, at, slog.New(slog.DiscardHandler))
	heap, goroutines := used(), runtime.NumGoroutine()
	var flood sync.WaitGroup
	for range clients {
		flood.Go(func() {
			conn, err := net.Dial("tcp", at.Addr().String())
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			for answers, n := bufio.NewReader(conn), 0; n < all/clients; n++ {
				io.WriteString(conn, "POST /-/reload?wait=false HTTP/1.1\r\nHost: x\r\n\r\n")
				answer, err := http.ReadResponse(answers, nil)
				if err != nil || answer.StatusCode != http.StatusAccepted {
					t.Errorf("%v, %v", answer, err)
					return
				}
			}
		})
	}
	flood.Wait()
	if asked := o.soon.Load(); asked == 0 || asked > all {
		t.Errorf("the loop was asked %d times", asked)
	}
	s.Close()
	for until := time.Now().Add(patience); runtime.NumGoroutine() > goroutines; time.Sleep(time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("%d goroutines are left", runtime.NumGoroutine()-goroutines)
		}
	}
	if grown := used() - heap; grown > all*16 { // a channel for each would be more
		t.Errorf("%d bytes are left", grown)
	}
}

// used is how many bytes of memory are in use.
func used() int64 {
	runtime.GC()
	runtime.GC() // what has a finalizer goes the second time
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
