package main_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// cmdNotify listens at a real socket of sd_notify(3). What is told there is a
// line each in notify.log, as if a program of that name had logged it.
func cmdNotify(ts *testscript.TestScript, neg bool, args []string) {
	refuse(ts, neg)
	p := &program{name: "notify", log: ts.MkAbs("notify.log")}
	log, err := os.Create(p.log)
	ts.Check(err)
	path := filepath.Join(ts.Getenv("XDG_RUNTIME_DIR"), "notify")
	socket, err := net.ListenPacket("unixgram", path)
	ts.Check(err)
	ts.Check(os.Chmod(path, 0o666))
	ts.Defer(func() { socket.Close() })
	ts.Setenv("NOTIFY_SOCKET", path)
	ts.Value(keyPrograms{}).(map[string]*program)[p.name] = p
	go func() {
		defer log.Close()
		for buffer := make([]byte, 4096); ; {
			n, _, err := socket.ReadFrom(buffer)
			if err != nil {
				return
			}
			fmt.Fprintln(log, strings.ReplaceAll(string(buffer[:n]), "\n", " "))
		}
	}()
}
