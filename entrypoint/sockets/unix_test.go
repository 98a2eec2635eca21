package sockets

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// stand lists what stands beside a path, and at it.
func stand(t *testing.T, a Address) (names []string) {
	t.Helper()
	list, err := os.ReadDir(filepath.Dir(a.path))
	must(t, err)
	for _, one := range list {
		names = append(names, one.Name())
	}
	return names
}

func TestAPathLeadsToWhatIsSteeredToAndIsGoneInTheEnd(t *testing.T) {
	a := inDirectory(t)
	s := opened(t, a)
	first := added(t, s)
	if !refused(a) {
		t.Error("there is somebody before anybody is steered to")
	}
	must(t, s.Steer(first))
	must(t, s.Steer(first)) // a link to what is there already
	if got, want := stand(t, a), []string{"app.sock", "app.sock.1"}; !slices.Equal(got, want) {
		t.Errorf("%v stand there, want %v", got, want)
	}
	second := added(t, s)
	must(t, s.Steer(second))
	if got, want := stand(t, a), []string{"app.sock", "app.sock.1", "app.sock.2"}; !slices.Equal(got, want) {
		t.Errorf("%v stand there, want %v", got, want)
	}
	must(t, first.Close())
	if got, want := stand(t, a), []string{"app.sock", "app.sock.2"}; !slices.Equal(got, want) {
		t.Errorf("%v stand there, want %v", got, want)
	}
	must(t, s.Close())
	if got := stand(t, a); got != nil {
		t.Errorf("%v are left", got)
	}
}

func TestNothingIsLeftOfAPathThatWasReleased(t *testing.T) {
	a := inDirectory(t)
	s := opened(t, a)
	first := added(t, s)
	must(t, s.Steer(first))
	must(t, s.Steer(added(t, s)))
	must(t, first.Close())
	must(t, s.alive[0].Release())
	must(t, s.Close())
	if got := stand(t, a); got != nil {
		t.Errorf("%v are left", got)
	}
}

func TestWhatAStrangerListensAtStaysWhenAllIsClosed(t *testing.T) {
	a := inDirectory(t)
	s := opened(t, a)
	first := added(t, s)
	must(t, s.Steer(first))
	must(t, first.Release())
	must(t, os.Remove(a.path+names[0])) // as gunicorn may
	stranger, err := net.Listen("unix", a.path+names[0])
	must(t, err)
	defer stranger.Close()
	must(t, s.Close())
	if got, want := stand(t, a), []string{"app.sock.1"}; !slices.Equal(got, want) {
		t.Errorf("%v stand there, want %v", got, want)
	}
}

// A umask is a process's, and gunicorn's own is 0 unless it is told otherwise.
func TestEverybodyMayConnectToAPath(t *testing.T) {
	a := inDirectory(t)
	s := opened(t, a)
	must(t, s.Steer(added(t, s)))
	info, err := os.Lstat(a.path)
	must(t, err)
	if info.Mode() != os.ModeSocket|mode {
		t.Error(info.Mode())
	}
}

func TestWhatWasLeftAtAPathIsReplaced(t *testing.T) {
	a := inDirectory(t)
	for _, name := range []string{"", ".0", ".1", ".2"} {
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: a.path + name})
		must(t, err)
		l.SetUnlinkOnClose(false)
		must(t, l.Close())
	}
	s := opened(t, a)
	first := added(t, s)
	if !refused(a) {
		t.Error("it is replaced before anybody is steered to")
	}
	must(t, s.Steer(first))
	hears(t, a, first.Descriptors()...)
	second := added(t, s)
	must(t, s.Steer(second))
	hears(t, a, second.Descriptors()...)
}

func TestAPathThatSomebodyListensAtIsInUse(t *testing.T) {
	for _, name := range []string{"", ".1"} {
		a := inDirectory(t)
		l, err := net.Listen("unix", a.path+name)
		must(t, err)
		defer l.Close()
		_, err = Open([]Address{a})
		var inUse *InUseError
		if !errors.As(err, &inUse) || inUse.Address != a || inUse.PID != os.Getpid() || inUse.Program == "" {
			t.Errorf("%v, want that it is in use by ourselves", err)
		}
	}
}

func TestAPathWhoseListenerIsBusyIsInUse(t *testing.T) {
	a := inDirectory(t)
	s, err := newSocket(unix.AF_UNIX)
	must(t, err)
	defer s.close()
	must(t, unix.Bind(s.fd, &unix.SockaddrUnix{Name: a.path}))
	must(t, unix.Listen(s.fd, 0))
	dial(t, a)
	_, err = Open([]Address{a})
	inUseBy(t, err, a, 0)
}

func TestNobodyIsSteeredToAPathThatAStrangerHasTaken(t *testing.T) {
	a := inDirectory(t)
	s := opened(t, a)
	first := added(t, s)
	must(t, s.Steer(first))
	must(t, os.Remove(a.path))
	l, err := net.Listen("unix", a.path)
	must(t, err)
	if err := s.Steer(first); !errors.As(err, new(*InUseError)) {
		t.Errorf("%v, want that it is in use", err)
	}
	must(t, s.Close())
	if _, err := os.Lstat(a.path); err != nil {
		t.Errorf("what is not ours is removed: %v", err)
	}
	must(t, l.Close())
}

func TestWhatIsNoSocketStays(t *testing.T) {
	for _, name := range []string{"", ".1"} {
		a := inDirectory(t)
		for kind, is := range map[string]func(string) error{
			"-rw-------": func(path string) error { return os.WriteFile(path, nil, 0o600) },
			"drwx------": func(path string) error { return os.Mkdir(path, 0o700) },
			"Lrwxrwxrwx": func(path string) error { return os.Symlink("somewhere", path) },
		} {
			must(t, is(a.path+name))
			_, err := Open([]Address{a})
			want := fmt.Sprintf("what stands at %s is no socket (%s)", a.path+name, kind)
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%v, want %q", err, want)
			}
			must(t, os.Remove(a.path+name))
		}
	}
	a := inDirectory(t)
	s := opened(t, a)
	l := added(t, s)
	must(t, os.WriteFile(a.path+".0", nil, 0o600))
	if err := s.Steer(l); err == nil {
		t.Error("a file was in the way")
	}
}

// Where the path was steered before the address that fails.
func TestAPathIsSteeredBackToo(t *testing.T) {
	path, tcp := inDirectory(t), loopback(t)
	s := opened(t, path, tcp)
	first, second := added(t, s), added(t, s)
	must(t, s.Steer(first))
	was := s.points[1]
	s.points[1] = local{inDirectory(t)} // where nothing can be linked to
	if err := s.steer(second); err == nil {
		t.Error("it is steered")
	}
	s.points[1] = was
	hears(t, path, first.Descriptors()[0])
}

func TestADirectoryThatIsNotThereIsSaid(t *testing.T) {
	a := parsed(t, "unix:/no/such/directory")
	if _, err := Open([]Address{a}); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), a.String()) {
		t.Error(err)
	}
}

// One address that cannot be steered leaves the others as they were.
func TestASteerThatFailsHalfwayIsTakenBack(t *testing.T) {
	tcp, path := loopback(t), inDirectory(t)
	s := opened(t, tcp, path)
	must(t, added(t, s).Close())
	first, second := added(t, s), added(t, s)
	for range 2 {
		must(t, os.Mkdir(path.path+".0", 0o700))
		if err := s.Steer(second); err == nil {
			t.Error("it is steered over a directory")
		}
		for range 8 {
			if hears(t, tcp, first.Descriptors()[0], second.Descriptors()[0]) != 0 {
				t.Error("the second one has heard")
			}
		}
		must(t, os.Remove(path.path+".0"))
		must(t, s.Steer(first))
	}
	must(t, s.Steer(second))
	for at, a := range []Address{tcp, path} {
		if hears(t, a, first.Descriptors()[at], second.Descriptors()[at]) != 1 {
			t.Errorf("the first one has heard at %v", a)
		}
	}
}

// Who waits there is told, though somebody has the socket open.
func TestWhoWaitsAtAPathIsResetWhenItIsClosed(t *testing.T) {
	a := inDirectory(t)
	s := opened(t, a)
	l := added(t, s)
	stranger(t, l.Descriptors()[0])
	must(t, s.Steer(l))
	for n := range 3 {
		c := dial(t, a)
		waits(t, l, n+1)
		defer func() {
			must(t, c.SetDeadline(time.Now().Add(patience)))
			if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) && !errors.Is(err, unix.ECONNRESET) {
				t.Errorf("who waits is told %v", err)
			}
		}()
	}
	must(t, l.Close())
	if !refused(a) {
		t.Error("somebody listens")
	}
}
