package control

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

func TestTheSocketIsForItsOwnerOnly(t *testing.T) {
	path := said(t)
	listens(t, path)
	info, err := os.Lstat(path)
	if err != nil || info.Mode() != os.ModeSocket|0o600 {
		t.Errorf("%v, %v, want a socket of mode 0600", info.Mode(), err)
	}
}

func TestASocketOfADeadStablehandIsReplaced(t *testing.T) {
	path := said(t)
	left := listens(t, path).(*net.UnixListener)
	left.SetUnlinkOnClose(false)
	left.Close()
	if _, err := os.Lstat(path); err != nil {
		t.Fatal(err)
	}
	listens(t, path)
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}

func TestASocketOfALivingStablehandIsLeft(t *testing.T) {
	path := said(t)
	listens(t, path)
	if _, err := Listen(path); !errors.Is(err, ErrLives) {
		t.Errorf("got %v, want ErrLives", err)
	}
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatalf("the first one's socket has gone: %v", err)
	}
	conn.Close()
}

// Several stablehands of a user each have a socket, and need not be told where.
func TestEachStablehandHasASocketBesideTheOthers(t *testing.T) {
	private := filepath.Join(places(t), "stablehand", "control")
	var sockets []net.Listener
	for i, want := range []string{private, private + "-2", private + "-3"} {
		sockets = append(sockets, listens(t, ""))
		if at := sockets[i].Addr(); at.String() != want || Usual(at) != (i == 0) {
			t.Errorf("number %d listens at %v, want %s", i+1, at, want)
		}
	}
	sockets[1].Close()
	if at := listens(t, "").Addr().String(); at != private+"-2" {
		t.Errorf("listens at %v, want the one that is free again", at)
	}
	sockets[0].Close()
	if at := listens(t, "").Addr().String(); at != private {
		t.Errorf("listens at %v, want the usual one", at)
	}
}

// Who asks finds the only one, wherever it is, and is told where there are more.
func TestTheOnlyStablehandIsAsked(t *testing.T) {
	private := filepath.Join(places(t), "stablehand", "control")
	client := NewClient("")
	if _, err := client.Socket(t.Context()); !errors.Is(err, ErrNothingRuns) {
		t.Errorf("got %v, want that nothing runs", err)
	}
	first, second := listens(t, ""), listens(t, "")
	_, err := client.Socket(t.Context())
	several := new(SeveralError)
	if want := []Socket{{private, os.Getpid()}, {private + "-2", os.Getpid()}}; !errors.As(err, &several) || !slices.Equal(several.Sockets, want) {
		t.Errorf("got %v, want %v", err, want)
	}
	if got, err := NewClient(private + "-2").Socket(t.Context()); got != (Socket{private + "-2", os.Getpid()}) {
		t.Errorf("got %v, %v, want the one that was said", got, err)
	}
	first.Close()
	if got, err := client.Socket(t.Context()); got.Path != private+"-2" {
		t.Errorf("got %v, %v, want the second, which is the only one", got, err)
	}
	second.Close()
}

// Another's, at a later place, is none of several.
func TestTheFirstPlaceWhereOneRunsIsAsked(t *testing.T) {
	places(t)
	if err := os.Mkdir(runDir, 0o700); err != nil {
		t.Fatal(err)
	}
	another := listens(t, Paths("")[1])
	client := NewClient("")
	if got, err := client.Socket(t.Context()); got.Path != another.Addr().String() {
		t.Errorf("got %v, %v, want the only one", got, err)
	}
	listens(t, "")
	if got, err := client.Socket(t.Context()); got.Path != Paths("")[0] {
		t.Errorf("got %v, %v, want the one in XDG_RUNTIME_DIR", got, err)
	}
}

// Anybody can lead a directory among the temporary files to the socket, once more.
func TestASocketCountsOnce(t *testing.T) {
	dir := filepath.Join(places(t), "stablehand")
	listens(t, "")
	for name, lead := range map[string]func(temporary string) error{
		"a link to its directory": func(to string) error { return os.Symlink(dir, to) },
		"a directory of ours with a link": func(to string) error {
			return errors.Join(os.Mkdir(to, 0o700), os.Symlink(filepath.Join(dir, "control"), filepath.Join(to, "control")))
		},
		"a directory for all with a link": func(to string) error {
			return errors.Join(os.Mkdir(to, 0o700), os.Chmod(to, 0o777), os.Symlink(filepath.Join(dir, "control"), filepath.Join(to, "control")))
		},
	} {
		t.Run(name, func(t *testing.T) {
			temporary := filepath.Dir(Paths("")[2])
			if err := lead(temporary); err != nil {
				t.Fatal(err)
			}
			defer os.RemoveAll(temporary)
			if got, err := NewClient("").Socket(t.Context()); got.Path != Paths("")[0] {
				t.Errorf("got %v, %v, want the first", got, err)
			}
		})
	}
}

// Where another user has a directory of that name, nobody looks into it.
func TestAStrangersDirectoryIsPassedOver(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can make another user's directory")
	}
	places(t)
	listens(t, "")
	strange := filepath.Dir(Paths("")[2])
	socket, err := Listen(filepath.Join(shortDir(t), "control"))
	if err := errors.Join(err, os.Mkdir(strange, 0o755), os.Symlink(socket.Addr().String(), filepath.Join(strange, "control")),
		os.Chown(strange, nobody, nobody)); err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	if got, err := NewClient("").Socket(t.Context()); got.Path != Paths("")[0] {
		t.Errorf("got %v, %v, want ours", got, err)
	}
}

func TestWhatIsNoSocketIsLeft(t *testing.T) {
	path := said(t)
	if err := os.WriteFile(path, []byte("data"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(path); err == nil || !strings.Contains(err.Error(), "no socket") {
		t.Errorf("got %v, want that it is no socket", err)
	}
	if data, _ := os.ReadFile(path); string(data) != "data" {
		t.Errorf("the file now holds %q", data)
	}
}

func TestAPathThatIsTooLongIsSaidToBe(t *testing.T) {
	long := filepath.Join(t.TempDir(), strings.Repeat("x", maxPath))
	if _, err := Listen(long); err == nil || !strings.Contains(err.Error(), "107 bytes") {
		t.Errorf("got %v, want that the path is too long", err)
	}
}

func TestADirectoryThatOthersControlIsNotTaken(t *testing.T) {
	for name, spoil := range map[string]func(dir string) error{
		"symlink": func(dir string) error { return os.Symlink(t.TempDir(), dir) },
		"file":    func(dir string) error { return os.WriteFile(dir, nil, 0o700) },
		"group-writable": func(dir string) error {
			return errors.Join(os.Mkdir(dir, 0o700), os.Chmod(dir, 0o770))
		},
		"foreign": func(dir string) error {
			if os.Geteuid() != 0 {
				return errSkip
			}
			return errors.Join(os.Mkdir(dir, 0o700), os.Chown(dir, nobody, nobody))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "stablehand")
			if err := spoil(dir); err == errSkip {
				t.Skip("only root can make another user's directory")
			} else if err != nil {
				t.Fatal(err)
			}
			if err := private(dir); err == nil {
				t.Errorf("%s is taken for a directory in which only we can write", dir)
			}
		})
	}
}

func TestTheNextPlaceIsTakenWhereOneCannotBe(t *testing.T) {
	dir := places(t)
	if err := os.Symlink(t.TempDir(), filepath.Join(dir, "stablehand")); err != nil {
		t.Fatal(err)
	}
	socket, err := Listen("")
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	if at := socket.Addr().String(); at != Paths("")[1] {
		t.Errorf("listens at %s, want %s", at, Paths("")[1])
	}
	if err := os.Symlink(t.TempDir(), filepath.Dir(runDir)+"/elsewhere"); err != nil {
		t.Fatal(err)
	}
	runDir = filepath.Dir(runDir) + "/elsewhere"
	listens(t, "")
	if _, err := os.Lstat(Paths("")[2]); err != nil {
		t.Errorf("the last place is not taken: %v", err)
	}
}

func TestADirectoryIsMadeForItsOwnerOnly(t *testing.T) {
	dir := places(t)
	defer syscall.Umask(syscall.Umask(0))
	listens(t, "")
	info, err := os.Lstat(filepath.Join(dir, "stablehand"))
	if err != nil || info.Mode() != os.ModeDir|0o700 {
		t.Errorf("%v, %v, want a directory of mode 0700", info.Mode(), err)
	}
}

// nobody is a user who owns nothing.
const nobody = 65534

var errSkip = errors.New("skip")

// said is a path for CONTROL.
func said(t *testing.T) string {
	t.Helper()
	return filepath.Join(shortDir(t), "control")
}

// shortDir is a directory of which the path leaves room for that of a socket.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "control-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// places makes the places for a socket that was not said the test's own, and
// returns the first.
func places(t *testing.T) string {
	t.Helper()
	dir := shortDir(t)
	t.Setenv("XDG_RUNTIME_DIR", dir)
	t.Setenv("TMPDIR", shortDir(t))
	before := runDir
	runDir = filepath.Join(shortDir(t), "stablehand")
	t.Cleanup(func() { runDir = before })
	return dir
}

func listens(t *testing.T, said string) net.Listener {
	t.Helper()
	socket, err := Listen(said)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { socket.Close() })
	return socket
}
