package main_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// cmdNotify listens at a real socket of sd_notify(3). What is told there is a
// line each in notify.log, as if a program of that name had logged it.
func cmdNotify(ts *testscript.TestScript, neg bool, args []string) {
	refuse(ts, neg)
	if len(args) > 0 && args[0] == "-read" {
		ts.Value(keyNotify{}).(*notified).read()
		return
	}
	p := &program{name: "notify", log: ts.MkAbs("notify.log")}
	log, err := os.Create(p.log)
	ts.Check(err)
	path := filepath.Join(ts.Getenv("XDG_RUNTIME_DIR"), "notify")
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) { // of an earlier one
		ts.Fatalf("%v", err)
	}
	socket, err := net.ListenPacket("unixgram", path)
	ts.Check(err)
	ts.Check(os.Chmod(path, 0o666))
	ts.Defer(func() { socket.Close() })
	ts.Setenv("NOTIFY_SOCKET", path)
	ts.Value(keyPrograms{}).(map[string]*program)[p.name] = p
	read := func() {
		defer log.Close()
		for buffer := make([]byte, 4096); ; {
			n, _, err := socket.ReadFrom(buffer)
			if err != nil {
				return
			}
			fmt.Fprintln(log, strings.ReplaceAll(string(buffer[:n]), "\n", " "))
		}
	}
	if len(args) == 0 {
		go read()
		return
	}
	if args[0] != "-unread" {
		ts.Fatalf("usage: notify [-unread|-read]")
	}
	ts.Value(keyNotify{}).(*notified).read = func() { go read() }
	ts.Check(fillSocket(path))
}

// keyNotify is where a script's service manager is kept that does not read yet.
type keyNotify struct{} // *notified

type notified struct{ read func() }

// fillSocket writes to a socket until nothing more fits.
func fillSocket(path string) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	for err == nil {
		err = unix.Sendto(fd, []byte("FILLER=1"), 0, &unix.SockaddrUnix{Name: path})
	}
	if err != unix.EAGAIN {
		return err
	}
	return nil
}
