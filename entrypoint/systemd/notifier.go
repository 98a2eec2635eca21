package systemd

import (
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

const (
	// maxQueue is how many messages wait for a manager that does not listen: more
	// than a handoff has steps.
	maxQueue = 32

	// maxStatus is how long a status may be, in bytes. systemd ignores a message
	// above PIPE_BUF, 4096.
	maxStatus = 1024
)

// Notifier tells a service manager how we fare. Its methods never wait, and may
// be called from any goroutine. What cannot be sent is lost, as it is with
// sd_notify: a manager whose socket is gone is not there to be told.
type Notifier struct {
	address *net.UnixAddr // nil where nobody wants to be told
	log     *slog.Logger

	mu      sync.Mutex
	queue   []message
	ended   chan struct{} // closed when all is sent; nil where nothing is queued
	conn    *net.UnixConn // on which a message is being sent
	hastily bool          // nothing more is waited for
}

type message struct {
	kind kind
	text string
}

type kind int

const (
	status   kind = iota // a status of the moment, which a newer one replaces
	state                // that we are ready, reload or stop
	watchdog             // that we live
)

// New tells the manager that NOTIFY_SOCKET names, if it names one.
func New(log *slog.Logger) *Notifier {
	n := &Notifier{log: log}
	if name := os.Getenv("NOTIFY_SOCKET"); name != "" {
		n.address = &net.UnixAddr{Net: "unixgram", Name: name}
	}
	return n
}

// Ready tells that we serve, or serve again after Reloading.
func (n *Notifier) Ready(text string) { n.tell(state, daemon.SdNotifyReady, line(text)) }

// Reloading tells that a reload has begun, which ends with the next Ready.
func (n *Notifier) Reloading(text string) {
	n.tell(state, daemon.SdNotifyReloading, strings.TrimSpace(daemon.SdNotifyMonotonicUsec()), line(text))
}

// Stopping tells that we are about to end.
func (n *Notifier) Stopping(text string) { n.tell(state, daemon.SdNotifyStopping, line(text)) }

// Status tells how things stand, in words.
func (n *Notifier) Status(text string) { n.tell(status, line(text)) }

// Watchdog tells that we live. One that is still to be sent is enough.
func (n *Notifier) Watchdog() { n.tell(watchdog, daemon.SdNotifyWatchdog) }

// line is a status as the protocol has it: one line of UTF-8. Another line would
// be another order.
func line(text string) string {
	text = strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == '\r' || r == 0 }), " ")
	return "STATUS=" + strings.ToValidUTF8(text[:min(len(text), maxStatus)], "")
}

// tell queues a message.
func (n *Notifier) tell(k kind, lines ...string) {
	if n.address == nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if k == watchdog && slices.ContainsFunc(n.queue, func(m message) bool { return m.kind == watchdog }) {
		return
	}
	if len(n.queue) == maxQueue {
		n.queue = slices.Delete(n.queue, n.oldest(), n.oldest()+1)
	}
	n.queue = append(n.queue, message{k, strings.Join(lines, "\n")})
	if n.ended == nil {
		n.ended = make(chan struct{})
		go n.send()
	}
}

// oldest is the place of the message that is missed least: the oldest status, or
// where there is none the oldest state. So the newest state is never dropped,
// nor is the newest status, which is about to be queued or comes with the state.
func (n *Notifier) oldest() int {
	of := func(k kind) int { return slices.IndexFunc(n.queue, func(m message) bool { return m.kind == k }) }
	if i := of(status); i >= 0 {
		return i
	}
	return of(state)
}

// send sends until nothing is queued.
func (n *Notifier) send() {
	for {
		next, ok := n.next()
		if !ok {
			return
		}
		if err := n.sendOne(next); err != nil {
			n.log.Debug("cannot tell the service manager", "reason", err)
		}
	}
}

func (n *Notifier) next() (message, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.hastily {
		n.queue = nil
	}
	if len(n.queue) == 0 {
		close(n.ended)
		n.ended = nil
		return message{}, false
	}
	next := n.queue[0]
	n.queue = slices.Delete(n.queue, 0, 1)
	return next, true
}

// sendOne sends a message for as long as it takes, which no thread is held up
// for. Each has a connection of its own, as the manager may have a new socket.
func (n *Notifier) sendOne(m message) error {
	conn, err := net.DialUnix(n.address.Net, nil, n.address)
	if err != nil {
		return err
	}
	defer conn.Close()
	n.mu.Lock()
	n.conn = conn
	if n.hastily {
		err = conn.SetWriteDeadline(time.Now())
	}
	n.mu.Unlock()
	if err != nil {
		return err // it might be written for ever
	}
	_, err = conn.Write([]byte(m.text))
	return err
}

// Close waits until all is sent, but no longer than the limit, and says whether
// that is so. What is not sent by then is given up.
func (n *Notifier) Close(limit time.Duration) bool {
	n.mu.Lock()
	ended := n.ended
	n.mu.Unlock()
	if ended == nil {
		return true
	}
	late := time.NewTimer(limit)
	defer late.Stop()
	select {
	case <-ended:
		return true
	case <-late.C:
	}
	n.mu.Lock()
	n.hastily = true
	if n.conn != nil {
		_ = n.conn.SetWriteDeadline(time.Now()) // fails for one that is closed, and so not waited for
	}
	n.mu.Unlock()
	<-ended
	return false
}
