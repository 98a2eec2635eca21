package control

import (
	"bufio"
	"io"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stablehand/stablehand/entrypoint/status"
)

// patience is for what is sure to come, on a machine however busy.
const patience = time.Minute

// Who connects and says nothing, or never all of it, keeps nobody from asking.
func TestIdleConnectionsKeepNobodyOut(t *testing.T) {
	at, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer Serve(&fakeLoop{status: servingStatus}, nil, at, slog.New(slog.DiscardHandler)).Close()
	for i := range 1000 {
		conn, err := net.Dial("tcp", at.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		switch i % 3 {
		case 1:
			io.WriteString(conn, "GET /li")
		case 2:
			io.WriteString(conn, "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n") // and stays
		}
		if i%10 == 0 {
			probe(t, at.Addr().String())
		}
	}
	for range 100 {
		probe(t, at.Addr().String())
	}
}

// probe asks as a kubelet does, on a connection of its own.
func probe(t *testing.T, address string) {
	t.Helper()
	client := http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Get("http://" + address + "/livez")
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		t.Fatalf("code %d", answer.StatusCode)
	}
}

// Among many who say nothing one who is being answered is let stay.
func TestWhoIsAnsweredStays(t *testing.T) {
	handoffs := make(chan status.Handoff)
	path, client := serve(t, &fakeLoop{handoffs: handoffs})
	ended := make(chan error, 1)
	go func() {
		_, err := client.Reload(t.Context(), func(status.Handoff) {})
		ended <- err
	}()
	handoffs <- status.Handoff{Step: "warm"}
	for range 3 * maxConns {
		conn, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	handoffs <- status.Handoff{Outcome: status.HandedOff}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestWhoDoesLeastGoesFirst(t *testing.T) {
	c := newCrowd(3)
	oldest, newest, busy := new(net.TCPConn), new(net.UnixConn), new(net.UDPConn)
	c.note(busy, http.StateNew)
	c.note(busy, http.StateActive)
	c.note(oldest, http.StateNew)
	c.note(newest, http.StateNew)
	goes := func(want net.Conn) {
		t.Helper()
		if got := c.enter(new(net.IPConn)); got != want {
			t.Errorf("%T goes, want %T", got, want)
		}
	}
	goes(oldest)
	c.set(newest, answered)
	for conn, s := range c.conns {
		if s.does == idle {
			c.set(conn, answered)
		}
	}
	goes(busy) // it is asking still
	c.note(oldest, http.StateIdle)
	if _, in := c.conns[oldest]; in {
		t.Error("who was told to go is counted again")
	}
	goesOneOfThree := c.enter(new(net.IPConn))
	if goesOneOfThree == nil {
		t.Error("nobody goes where all are answered")
	}
}

// The limit holds whatever the connections do.
func TestConnectionsAreFew(t *testing.T) {
	path, _ := serve(t, &fakeLoop{status: servingStatus})
	var conns []net.Conn
	for range 4 * maxConns {
		conn, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conns = append(conns, conn)
	}
	for _, conn := range conns[:3*maxConns] { // from the oldest
		conn.SetReadDeadline(time.Now().Add(patience))
		if _, err := conn.Read(make([]byte, 1)); err != io.EOF {
			t.Fatalf("got %v, want the end", err)
		}
	}
	last := conns[len(conns)-1]
	io.WriteString(last, "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
	answer, err := http.ReadResponse(bufio.NewReader(last), nil)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Errorf("%v, %v", answer, err)
	}
}
