package gunicorn

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stablehand/stablehand/internal/proc"
	"github.com/stablehand/stablehand/reaper"
)

var site = Identity{Argv: []string{"gunicorn", "app:app"}, Dir: "/srv/site"}

// gone is a stablehand that has ended. It is to come before what reaps any child.
func gone(t *testing.T) Kept {
	t.Helper()
	cmd := exec.Command("true")
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	return Kept{PID: cmd.Process.Pid, Started: 1}
}

// listens opens a socket that listens, as a descriptor to be handed on.
func listens(t *testing.T) (*os.File, uint64) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	f, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	var stat unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &stat); err != nil {
		t.Fatal(err)
	}
	return f, stat.Ino
}

// startMarked starts words with a mark and a socket, and is their pid.
func startMarked(t *testing.T, r *reaper.Reaper, mark string, socket *os.File, words ...string) int {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "app.py"), []byte(app), 0o644); err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	env := append(InheritFrom(os.Environ(), os.Getpid(), []int{FirstSocket}), MarkVariable+"="+mark)
	p, err := r.Start(words, &syscall.ProcAttr{Dir: dir, Env: env, Files: []uintptr{0, log.Fd(), log.Fd(), socket.Fd()}})
	if err != nil {
		t.Fatal(err)
	}
	return p.PID()
}

func leftovers(t *testing.T, r *reaper.Reaper, inodes ...uint64) []*Leftover {
	t.Helper()
	left, _, err := Leftovers(r, site, "", [][]uint64{inodes})
	if err != nil {
		t.Fatal(err)
	}
	return left
}

func TestWhatAMarkSaysIsReadAgain(t *testing.T) {
	b := Begun{By: Kept{PID: 17, Started: 4711}, Number: 3, Namespace: 4026531836, Command: site.Command()}
	for _, addresses := range []string{"", "0123abcd"} {
		b.Addresses = addresses
		if got, ok := parseBegun(b.String()); !ok || got != b {
			t.Errorf("%+v, %v, want %+v", got, ok, b)
		}
	}
	for _, other := range []string{"", "1.2.3", "1.2.3.4", "1.2.3.4.", "x.2.3.4.5", " 1.2.3.4.5", "1.2.3.4.5 6", "1.2.3.4.5.", "+1.2.3.4.5"} {
		if got, ok := parseBegun(other); ok {
			t.Errorf("%q is read as %+v", other, got)
		}
	}
	for name, other := range map[string]Identity{
		"other words":         {Argv: []string{"gunicorn", "other:app"}, Dir: site.Dir},
		"another directory":   {Argv: site.Argv, Dir: "/srv/other"},
		"a word more":         {Argv: []string{"gunicorn", "app:app", ""}, Dir: site.Dir},
		"a word in two":       {Argv: []string{"gunicorn app:app"}, Dir: site.Dir},
		"a directory in them": {Argv: append(site.Argv, site.Dir)},
	} {
		if other.Command() == site.Command() {
			t.Errorf("%s: the same command", name)
		}
	}
	if same := (Identity{Argv: site.Argv, CmdArgs: "--threads=2", Dir: site.Dir}); same.Command() != site.Command() {
		t.Error("with other GUNICORN_CMD_ARGS it is another command")
	}
}

func TestOnlyWhatIsOfTheCommandIsLeftOver(t *testing.T) {
	ours := Begun{By: gone(t), Namespace: PIDNamespace(), Command: site.Command()}
	r := newReaper(t)
	for name, test := range map[string]struct {
		mark  func(Begun) string
		there bool // the socket is among those that listen at the address
		want  int
	}{
		"its own":            {Begun.String, true, 1},
		"at other addresses": {Begun.String, false, 0},
		"of another command": {func(b Begun) string { b.Command = "0123456789abcdef"; return b.String() }, true, 0},
		"of a pid elsewhere": {func(b Begun) string { b.Namespace++; return b.String() }, true, 0},
		"with no such mark":  {func(b Begun) string { return "17" }, true, 0},
		"with none":          {func(b Begun) string { return "" }, true, 0},
	} {
		t.Run(name, func(t *testing.T) {
			ours.Number++
			f, inode := listens(t)
			pid := startMarked(t, r, test.mark(ours), f, "sleep", "3600")
			awaitMark(t, pid, test.mark(ours))
			if !test.there {
				inode++
			}
			left := leftovers(t, r, 1, inode)
			if len(left) != test.want {
				t.Fatalf("%d are left over, want %d", len(left), test.want)
			}
			if test.want == 0 {
				return
			}
			if l := left[0]; l.Master != nil || l.First() != pid || l.Serves() || l.Leaves() || l.Sockets[0] != inode {
				t.Errorf("%+v of process %d", l, pid)
			}
			if err := left[0].End(limited(t)); err != nil {
				t.Fatal(err)
			}
			if proc.Alive(pid) || len(leftovers(t, r, inode)) != 0 {
				t.Errorf("process %d is not ended", pid)
			}
		})
	}
}

// awaitMark waits until a process is the program that was started.
func awaitMark(t *testing.T, pid int, mark string) {
	t.Helper()
	for end := time.Now().Add(deadline); ; time.Sleep(time.Millisecond) {
		line, _ := proc.Cmdline(pid)
		got, err := proc.Environ(pid, MarkVariable)
		if err == nil && got == mark && len(line) > 0 && line[0] == "sleep" {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("process %d has the mark %q, %v", pid, got, err)
		}
	}
}

func TestWhatHasAStablehandIsNotLeftOver(t *testing.T) {
	r := newReaper(t)
	self, err := proc.Stat(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	b := Begun{By: Kept{PID: self.PID, Started: self.Started}, Number: 1, Namespace: PIDNamespace(), Command: "another"}
	f, inode := listens(t)
	pid := startMarked(t, r, b.String(), f, "sleep", "3600")
	awaitMark(t, pid, b.String())
	_, _, err = Leftovers(r, site, "", [][]uint64{{inode}})
	var kept *KeptError
	if !errors.As(err, &kept) || kept.PID != pid || kept.By != os.Getpid() {
		t.Errorf("%v, want that %d is looked after by us", err, pid)
	}

	// The same pid was another process's, before.
	b.By.Started, b.Command = self.Started-1, site.Command()
	f, inode = listens(t)
	pid = startMarked(t, r, b.String(), f, "sleep", "3600")
	awaitMark(t, pid, b.String())
	if left := leftovers(t, r, inode); len(left) != 1 || left[0].First() != pid {
		t.Errorf("%+v, want %d", left, pid)
	}
}

// The master is found among the processes of its generation, and serves until it is told
// to end. Of two generations the older one comes first.
func TestTheMasterOfWhatIsLeftOverIsFound(t *testing.T) {
	program := newest(t)
	b := Begun{By: gone(t), Number: 1, Namespace: PIDNamespace(), Command: site.Command()}
	r := newReaper(t)
	f, first := listens(t)
	pid := startMarked(t, r, b.String(), f, "sh", "-c", `"$@"; :`, "sh", program, "--workers=2", "app:app")
	old := awaitServing(t, r, first)
	if old.PID() == pid {
		t.Errorf("the shell %d is taken for the master", pid)
	}
	b.Number = 2
	g, second := listens(t)
	time.Sleep(20 * time.Millisecond) // the process table counts in hundredths of a second
	newer := startMarked(t, r, b.String(), g, "sleep", "3600")
	awaitMark(t, newer, b.String())
	left := leftovers(t, r, second, first)
	if len(left) != 2 || left[0].PID() != old.PID() || left[1].First() != newer || left[0].Sockets[0] != first || left[1].Sockets[0] != second {
		t.Fatalf("%+v, want %d and %d", left, old.PID(), newer)
	}

	// Its worker has the socket open for as long as a request takes.
	c, err := net.Dial("tcp", addressOf(t, f))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("GET /slow HTTP/1.0\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	awaitHeld(t, old.Master)
	if err := old.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(deadline); !old.Leaves(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it does not leave")
		}
	}
	if left := leftovers(t, r, first); len(left) != 1 || left[0].Serves() || !left[0].Leaves() {
		t.Errorf("%+v, want one that leaves", left)
	}
}

// A master that has closed its sockets is ending for as long as a hook of it takes, beside
// another generation; and it is that of who listens at the same addresses only.
func TestAMasterThatHasClosedItsSocketsIsEnding(t *testing.T) {
	config := filepath.Join(t.TempDir(), "gunicorn.conf.py")
	if err := os.WriteFile(config, []byte("def on_exit(server):\n    import time\n    time.sleep(3600)\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	b := Begun{By: gone(t), Number: 1, Namespace: PIDNamespace(), Command: site.Command(), Addresses: "0123"}
	r := newReaper(t)
	f, first := listens(t)
	startMarked(t, r, b.String(), f, newest(t), "--config="+config, "app:app")
	old := awaitServing(t, r, first)
	b.Number = 2
	g, second := listens(t)
	newer := startMarked(t, r, b.String(), g, "sleep", "3600")
	awaitMark(t, newer, b.String())
	ending := func(own Identity, addresses string) []*Leftover {
		t.Helper()
		_, ending, err := Leftovers(r, own, addresses, [][]uint64{{first, second}})
		if err != nil {
			t.Fatal(err)
		}
		return ending
	}
	if found := ending(site, "0123"); len(found) != 0 {
		t.Errorf("%d are ending, and none was told to", len(found))
	}
	if err := old.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(deadline); !old.Spent(); time.Sleep(lookEvery) {
		if time.Now().After(end) {
			t.Fatal("it has workers or sockets still")
		}
	}
	if found := ending(site, "0123"); len(found) != 1 || found[0].PID() != old.PID() {
		t.Errorf("%d are ending, want process %d", len(found), old.PID())
	}
	if found := ending(site, "4567"); len(found) != 0 {
		t.Errorf("it is taken for one of another site with the same words")
	}
	if found := ending(Identity{Argv: []string{"gunicorn", "other:app"}, Dir: site.Dir}, "0123"); len(found) != 0 {
		t.Errorf("it is taken for one of another command")
	}
}

// awaitServing waits until one generation serves that was left over.
func awaitServing(t *testing.T, r *reaper.Reaper, inode uint64) *Leftover {
	t.Helper()
	for end := time.Now().Add(deadline); ; time.Sleep(lookEvery) {
		if left := leftovers(t, r, inode); len(left) == 1 && left[0].Serves() {
			return left[0]
		}
		if time.Now().After(end) {
			t.Fatal("nothing that serves is left over")
		}
	}
}

// newest is the newest gunicorn.
func newest(t *testing.T) string {
	t.Helper()
	program, err := filepath.Abs("../../.cache/py/gunicorn-27.0.1/bin/gunicorn")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(program); err != nil {
		t.Skipf("make envs makes gunicorn: %v", err)
	}
	return program
}

// addressOf is where a socket listens.
func addressOf(t *testing.T, f *os.File) string {
	t.Helper()
	l, err := net.FileListener(f)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// awaitHeld waits until one of a master's workers has accepted a connection.
func awaitHeld(t *testing.T, m *Master) {
	t.Helper()
	for end := time.Now().Add(deadline); ; time.Sleep(lookEvery) {
		for _, worker := range children(t, m.PID()) {
			descriptors, _ := proc.Descriptors(worker)
			sockets := 0
			for _, d := range descriptors {
				if strings.HasPrefix(d.Target, "socket:") {
					sockets++
				}
			}
			if sockets > 1 {
				return
			}
		}
		if time.Now().After(end) {
			t.Fatal("no worker has the connection")
		}
	}
}
