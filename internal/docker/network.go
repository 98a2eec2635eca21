package docker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// network is a network namespace of the tests' own, in which their engine lives: what
// it does to bridges, of its own or another engine's, it does there. What the engine
// and its builds ask of the world outside goes through slirp4netns, as rootless
// Docker's does. Who asks a container from outside has [network.dial].
type network struct {
	namespace *os.File
	outside   *exec.Cmd // nil until it has started
	last      *os.File  // while it is open, outside goes on
}

// tapMTU is the largest that slirp4netns takes, which its documentation advises for
// throughput.
const tapMTU = "65520"

// newNetwork makes a network that ends with this process at the latest. It returns when
// the world outside can be asked.
func newNetwork() (*network, error) {
	if _, err := exec.LookPath("slirp4netns"); err != nil {
		return nil, errors.New("slirp4netns is missing (Debian: apt-get install slirp4netns)")
	}
	namespace, err := newNamespace()
	if err != nil {
		return nil, err
	}
	n := &network{namespace: namespace}
	if err := n.reachOutside(); err != nil {
		return nil, errors.Join(err, n.close())
	}
	return n, nil
}

// newNamespace makes a namespace, and leaves this process's threads where they are.
func newNamespace() (*os.File, error) {
	var made *os.File
	err := onThread(func() (err error) {
		if err = unix.Unshare(unix.CLONE_NEWNET); err == nil {
			made, err = os.Open("/proc/thread-self/ns/net")
		}
		return err
	})
	return made, err
}

// onThread runs f on a thread that may leave its network namespace, and takes it back.
func onThread(f func() error) error {
	runtime.LockOSThread()
	here, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer here.Close()
	err = f()
	if back := unix.Setns(int(here.Fd()), unix.CLONE_NEWNET); back != nil {
		return errors.Join(err, back) // and the thread ends with its goroutine
	}
	runtime.UnlockOSThread()
	return err
}

// within runs f on a thread in the network.
func (n *network) within(f func() error) error {
	return onThread(func() error {
		if err := unix.Setns(int(n.namespace.Fd()), unix.CLONE_NEWNET); err != nil {
			return err
		}
		return f()
	})
}

// reachOutside starts slirp4netns, which writes to one descriptor when the network is
// there, and ends when nobody has the other end of another any more.
func (n *network) reachOutside() error {
	ready, readyEnd, err := os.Pipe()
	if err != nil {
		return err
	}
	defer ready.Close()
	defer readyEnd.Close()
	lastEnd, last, err := os.Pipe()
	if err != nil {
		return err
	}
	n.last = last
	defer lastEnd.Close()
	var said strings.Builder
	cmd := exec.Command("slirp4netns", "--configure", "--mtu="+tapMTU, "--ready-fd=3", "--exit-fd=4", "--netns-type=path", "/proc/self/fd/5", "tap0")
	cmd.ExtraFiles = []*os.File{readyEnd, lastEnd, n.namespace}
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true} // not ended by an INT from a terminal
	if err := cmd.Start(); err != nil {
		return err
	}
	n.outside = cmd
	readyEnd.Close()
	if err := ready.SetReadDeadline(time.Now().Add(startTimeout)); err != nil {
		return err
	}
	if _, err := io.ReadFull(ready, make([]byte, 1)); err != nil {
		return errors.Join(fmt.Errorf("slirp4netns does not run here: %w", err), n.end(), errors.New(strings.TrimSpace(said.String())))
	}
	return nil
}

// end ends what reaches outside.
func (n *network) end() error {
	err := n.last.Close()
	n.last = nil
	late := time.AfterFunc(stopTimeout, func() { n.outside.Process.Kill() })
	defer late.Stop()
	_ = n.outside.Wait() // it ends as it is told to, whatever its code
	n.outside = nil
	return err
}

// close ends it, when nobody is in it any more.
func (n *network) close() error {
	var err error
	if n.outside != nil {
		err = n.end()
	}
	return errors.Join(err, n.namespace.Close())
}

// dial connects to a numeric address in the network. A socket stays in the namespace in
// which it was made, whichever thread uses it; it is made by the thread that asks, as
// there is one address to try.
func (n *network) dial(ctx context.Context, protocol, address string) (conn net.Conn, err error) {
	err = n.within(func() error {
		conn, err = new(net.Dialer).DialContext(ctx, protocol, address)
		return err
	})
	return conn, err
}
