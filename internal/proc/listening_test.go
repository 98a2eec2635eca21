package proc

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// TestListening asks for sockets of each kind: as the kernel tells at once, and by its
// lists, which say the same.
func TestListening(t *testing.T) {
	before, err := Listening(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for network, at := range map[string]string{"tcp4": "127.0.0.1:0", "tcp6": "[::1]:0", "unix": filepath.Join(t.TempDir(), "s")} {
		l, err := net.Listen(network, at)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		conn, err := net.Dial(network, l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close() // which does not listen
	}
	now, err := Listening(os.Getpid())
	if err != nil || len(now) != len(before)+3 {
		t.Errorf("%v, %v; before there were %v", now, err, before)
	}
	asked, is := tcpListening(os.Getpid())
	if !is {
		t.Fatal("the kernel does not tell of sockets")
	}
	var listed []string
	for _, table := range tables {
		found, err := table.listening(os.Getpid())
		if err != nil {
			t.Error(err)
		}
		if table.tcp {
			listed = append(listed, found...)
		}
	}
	for _, target := range now {
		inode := target[len("socket:[") : len(target)-1]
		if slices.Contains(asked, inode) != slices.Contains(listed, inode) {
			t.Errorf("%s: told %v, listed %v", inode, asked, listed)
		}
	}
	if len(asked) < 2 {
		t.Errorf("%v are told to listen", asked)
	}
}
