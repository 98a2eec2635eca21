package gunicorn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path"
	"slices"
	"sort"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stablehand/stablehand/internal/proc"
	"github.com/stablehand/stablehand/internal/sockdiag"
)

// By USR2 all generations accept from one socket, and yet a worker of one of them can be
// talked to: whose connection has been accepted by another one's is closed before anything
// was sent, and the next one is tried. The kernel gives a connection's other end its inode
// as somebody accepts it, and that is among the descriptors of who did.

const (
	// A worker that polls may be quicker than all others, more than once.
	redialFirst = 10 * time.Millisecond
	redialLast  = 500 * time.Millisecond

	// Where a worker waits for connections it accepts one within a millisecond.
	lookAccepted     = time.Millisecond
	lookAcceptedLast = 20 * time.Millisecond
)

// Accepted is a connection that a worker has accepted.
type Accepted struct {
	net.Conn
	Unknown error // why it is not known whose worker that is; nil where it is the generation's
}

// Dial connects to where the master listens, until a worker of its generation has accepted
// the connection. It tries first what the master has opened first. Where it cannot be
// learned where that is, it connects over loopback to a port, and where it cannot be
// learned who accepts, it takes the first connection there is: Unknown says why.
// To dismiss is to close one that somebody else has accepted, over which nothing was sent.
func (m *Master) Dial(ctx context.Context, port uint16, dismiss func(net.Conn)) (*Accepted, error) {
	at, err := m.addresses()
	if passes(err) {
		return nil, err
	}
	if err != nil {
		conn, _, err2 := dialAny(ctx, []address{{tcp: netip.AddrPortFrom(netip.IPv4Unspecified(), port)}})
		return &Accepted{conn, err}, err2
	}
	if len(at) == 0 {
		return nil, errors.New("gunicorn listens nowhere that can be seen")
	}
	tries := 0
	for pause := redialFirst; ; pause = min(pause*3/2, redialLast) {
		conn, left, err := dialAny(ctx, at)
		if err != nil {
			return nil, orTries(ctx, err, tries)
		}
		by, err := m.accepts(ctx, conn)
		switch {
		case by == byWorker:
			return &Accepted{conn, nil}, nil
		case by == byUnknown:
			return &Accepted{conn, err}, nil
		}
		dismiss(conn)
		switch {
		case err != nil:
			return nil, orTries(ctx, err, tries)
		case by == byMaster && len(left) > 0: // who has opened a socket for something else
			at = left
		default:
			tries++
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, orTries(ctx, context.Cause(ctx), tries)
		}
	}
}

// elsewhere is that all connections went to others.
type elsewhere struct {
	error
	tries int
}

func (e elsewhere) Error() string {
	if e.tries == 1 {
		return "a worker of the other generation has accepted the connection"
	}
	return fmt.Sprintf("workers of the other generation have accepted all %d connections", e.tries)
}

func (e elsewhere) Unwrap() error { return e.error }

// orTries is why there is no connection: what the time was spent with, where it is over.
func orTries(ctx context.Context, err error, tries int) error {
	if tries == 0 || ctx.Err() == nil {
		return err
	}
	return elsewhere{err, tries}
}

// Elsewhere says whether an error is that workers of another generation have accepted all
// connections.
func Elsewhere(err error) bool { return errors.As(err, new(elsewhere)) }

// address is where a master listens.
type address struct {
	tcp  netip.AddrPort
	path string // of a unix socket; empty for TCP
}

// dialAny connects to the first that can be connected to, and says which come after that.
func dialAny(ctx context.Context, list []address) (conn net.Conn, left []address, err error) {
	for i, a := range list {
		if conn, err = a.dial(ctx); err == nil {
			return conn, list[i+1:], nil
		}
	}
	return nil, nil, err
}

func (a address) dial(ctx context.Context) (conn net.Conn, err error) {
	var d net.Dialer
	if a.path != "" {
		return d.DialContext(ctx, "unix", a.path)
	}
	for _, to := range sockdiag.Reach(a.tcp) {
		if conn, err = d.DialContext(ctx, "tcp", to.String()); err == nil || !sockdiag.Unreachable(err) {
			break
		}
	}
	return conn, err
}

// addresses are those of the sockets on which the master listens, in the order in which it
// has opened them: what else it listens on, such as its control socket, comes after them.
// Where each worker opens its own they are those of the workers. The error is that nobody
// knows, and what can be done.
func (m *Master) addresses() ([]address, error) {
	listening, err := m.listening()
	if err != nil {
		return nil, advised{fmt.Errorf("where gunicorn listens cannot be learned: %w", err), ""}
	}
	list, _ := m.note()
	slices.SortStableFunc(list, func(a, b proc.Info) int { return first(b.PID == m.PID()) - first(a.PID == m.PID()) })
	for _, info := range list {
		descriptors, err := proc.Descriptors(info.PID)
		if errors.Is(err, fs.ErrPermission) && info.PID == m.PID() && unreadable(err, m.Process) {
			reason, do := blindness(m.PID())
			return nil, advised{fmt.Errorf("where gunicorn listens cannot be learned: %s", reason), ownListeners + ", or " + do}
		}
		sort.Slice(descriptors, func(i, j int) bool { return descriptors[i].Number() < descriptors[j].Number() })
		var found []address
		for _, d := range descriptors {
			if at, is := listening[d.Target]; is && !slices.Contains(found, at) {
				found = append(found, at)
			}
		}
		if len(found) > 0 {
			return found, nil
		}
	}
	return nil, nil
}

func first(is bool) int {
	if is {
		return 1
	}
	return 0
}

// listening is all that listens, by what a descriptor of it leads to.
func (m *Master) listening() (map[string]address, error) {
	at := make(map[string]address)
	list, err := sockdiag.ListTCP([]byte{unix.AF_INET, unix.AF_INET6}, 0, sockdiag.Listening)
	if err != nil {
		return nil, err
	}
	for _, one := range list {
		at[proc.Socket(uint64(one.Inode))] = address{tcp: one.Local}
	}
	sockets, err := proc.UnixListening()
	for _, one := range sockets {
		name := one.Path
		if !path.IsAbs(name) && !strings.HasPrefix(name, "@") { // which is no file's
			name = path.Join(proc.DirLink(m.PID()), name)
		}
		at[proc.Socket(one.Inode)] = address{path: name}
	}
	return at, err
}

// passes says whether an error is of what may be there again a moment later.
func passes(err error) bool {
	return slices.ContainsFunc([]error{unix.EMFILE, unix.ENFILE, unix.ENOMEM, unix.ENOBUFS}, func(errno error) bool { return errors.Is(err, errno) })
}

// ownListeners is what makes that no question.
const ownListeners = "set STABLEHAND_BIND, with which each generation has a listener of its own"

// by is who has accepted a connection.
type by int

const (
	byNobody by = iota
	byOther
	byMaster
	byWorker
	byUnknown
)

// accepts waits until somebody has accepted a connection, and says who. The error is why
// nobody has, or why it is not known: io.EOF where it was closed before that could be seen.
func (m *Master) accepts(ctx context.Context, conn net.Conn) (by, error) {
	for pause := lookAccepted; ; pause = min(2*pause, lookAcceptedLast) {
		inode, err := acceptedBy(conn)
		switch {
		case errors.Is(err, sockdiag.ErrGone):
			return byNobody, io.EOF
		case passes(err):
			return byNobody, err
		case err != nil:
			return byUnknown, advised{fmt.Errorf("who accepts a connection cannot be learned: %w", err), ""}
		case inode != 0:
			return m.whose(proc.Socket(uint64(inode)))
		case hungUp(conn):
			return byNobody, io.EOF
		}
		select {
		case <-time.After(pause):
		case <-m.Done():
			return byNobody, &ExitError{PID: m.PID(), Status: m.Status()}
		case <-ctx.Done():
			return byNobody, context.Cause(ctx)
		}
	}
}

// whose says who has the other end of a connection.
func (m *Master) whose(target string) (by, error) {
	list, err := m.note()
	hidden := 0
	for _, info := range list {
		descriptors, unread := proc.Descriptors(info.PID)
		if errors.Is(unread, fs.ErrPermission) && info.Parent == m.PID() && lives(info.PID) {
			hidden = info.PID // a worker that has become another user; one that has begun to end hides what it has, too
			continue
		}
		err = errors.Join(err, unless(unread))
		if !slices.ContainsFunc(descriptors, func(d proc.Descriptor) bool { return d.Target == target }) {
			continue
		}
		if info.PID == m.PID() {
			return byMaster, nil
		}
		return byWorker, nil
	}
	if hidden != 0 {
		reason, _ := blindness(hidden)
		return byUnknown, advised{fmt.Errorf("who accepts a connection cannot be learned: %s", strings.ReplaceAll(reason, "gunicorn", "a worker")),
			ownListeners + ", or run stablehand with the capability SYS_PTRACE"}
	}
	if err != nil {
		return byNobody, err
	}
	return byOther, nil
}

// acceptedBy is the inode of the other end of a connection, 0 until it was accepted.
func acceptedBy(conn net.Conn) (inode uint32, err error) {
	if remote, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		local, _ := conn.LocalAddr().(*net.TCPAddr) // both are of one kind
		return sockdiag.AcceptedTCP(unmapped(remote.AddrPort()), unmapped(local.AddrPort()))
	}
	own, err := inodeOf(conn)
	if err != nil {
		return 0, err
	}
	return sockdiag.AcceptedUnix(uint32(own))
}

func unmapped(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

// inodeOf is that of a connection's own socket.
func inodeOf(conn net.Conn) (uint64, error) {
	var stat unix.Stat_t
	err := withDescriptor(conn, func(fd int) error { return unix.Fstat(fd, &stat) })
	return stat.Ino, os.NewSyscallError("fstat", err)
}

// hungUp says whether the other end of a connection has been closed.
func hungUp(conn net.Conn) bool {
	ends := []unix.PollFd{{Events: unix.POLLRDHUP}}
	err := withDescriptor(conn, func(fd int) error {
		ends[0].Fd = int32(fd)
		_, err := unix.Poll(ends, 0)
		return err
	})
	return err == nil && ends[0].Revents != 0
}

func withDescriptor(conn net.Conn, use func(fd int) error) error {
	raw, err := conn.(syscall.Conn).SyscallConn()
	if err != nil {
		return err
	}
	if err2 := raw.Control(func(fd uintptr) { err = use(int(fd)) }); err2 != nil {
		return err2
	}
	return err
}
