package sockets

import (
	"fmt"
	"strings"
	"testing"
)

func TestAnAddressIsReadAsGunicornReadsIt(t *testing.T) {
	for text, want := range map[string]string{
		"127.0.0.1:8000":          "127.0.0.1:8000",
		":8000":                   "0.0.0.0:8000",
		"0.0.0.0:65535":           "0.0.0.0:65535",
		"[::]:1":                  "[::]:1",
		"[::1]:8000":              "[::1]:8000",
		"[::ffff:127.0.0.1]:8000": "127.0.0.1:8000",
		"localhost:8000":          "127.0.0.1:8000",
		"unix:/run/app.sock":      "/run/app.sock",
		"unix:///run/app.sock":    "/run/app.sock",
	} {
		a, err := ParseAddress(text)
		_, got := network(a)
		if err != nil || got != want || a.String() != text {
			t.Errorf("%q is read as %s, %v; want %s", text, got, err, want)
		}
		if again, _ := ParseAddress(text); again != a {
			t.Errorf("%q is not the same twice", text)
		}
	}
}

func TestWhatIsWrongWithAnAddressIsSaid(t *testing.T) {
	long := "unix:/" + strings.Repeat("x", maxPath)
	for text, want := range map[string]string{
		"":                      `"" is neither host:port nor unix:/path`,
		"8000":                  `"8000" is neither host:port nor unix:/path`,
		"app:app":               `"app:app" has "app" for a port, which is a number from 1 to 65535`,
		"127.0.0.1:":            `"127.0.0.1:" has "" for a port, which is a number from 1 to 65535`,
		"127.0.0.1:65536":       `"127.0.0.1:65536" has "65536" for a port, which is a number from 1 to 65535`,
		"127.0.0.1:-1":          `"127.0.0.1:-1" has "-1" for a port, which is a number from 1 to 65535`,
		":0":                    `":0" has port 0, a random one, which no two sockets can share`,
		"::1:8000":              `"::1:8000" is no [host]:port: an IPv6 address stands in brackets`,
		"[fe80::1%lo]:80":       `"[fe80::1%lo]:80" has a zone, which is not supported`,
		"http://127.0.0.1:8000": `"http://127.0.0.1:8000" is neither host:port nor unix:/path`,
		"fd://3":                `"fd://3" has "//3" for a port, which is a number from 1 to 65535`,
		"unix:":                 `"unix:" does not name an absolute path, as unix:/run/app.sock does`,
		"unix:app.sock":         `"unix:app.sock" does not name an absolute path, as unix:/run/app.sock does`,
		"unix:@app":             `"unix:@app" does not name an absolute path, as unix:/run/app.sock does`,
		"unix:/run/":            `"unix:/run/" names a directory`,
		"unix:/run/\x00":        `"unix:/run/\x00" has a byte 0 in it`,
		long:                    fmt.Sprintf("%q names a path of %d bytes, where a socket's may have %d", long, maxPath+1, maxPath),
	} {
		if a, err := ParseAddress(text); err == nil || err.Error() != want {
			t.Errorf("%q is read as %v, %v; want %s", text, a, err, want)
		}
	}
}

func TestANameThatNobodyHasIsSaid(t *testing.T) {
	_, err := ParseAddress("no-such-host.invalid:8000")
	if err == nil || !strings.Contains(err.Error(), `"no-such-host.invalid:8000" has a host of which no address is found`) {
		t.Error(err)
	}
	if _, ok := err.(interface{ Unwrap() error }); !ok {
		t.Error("why is lost")
	}
}
