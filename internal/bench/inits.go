package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/stablehand/stablehand/internal/proc"
)

// initProgram is one that is PID 1 and starts the words after it.
type initProgram struct {
	name  string
	words []string
	file  string // the program itself
}

// loop is PID 1 as a shell can be: it passes signals on, and reaps since bash does.
const loop = `"$@" &
child=$!
for signal in TERM INT HUP USR1 USR2; do trap "kill -$signal $child" $signal; done
while kill -0 $child 2>/dev/null; do wait $child; done`

func initPrograms(o options) []initProgram {
	return []initProgram{
		{name: "tini", words: []string{"tini", "--"}, file: "tini"},
		{name: "dumb-init", words: []string{"dumb-init", "--"}, file: "dumb-init"},
		{name: "bash loop", words: []string{"bash", "-c", loop, "bash"}, file: "bash"},
		{name: "stablehand", words: []string{"stablehand", "--"}, file: o.stablehand},
	}
}

// initCost is what one has cost. Times are in ms.
type initCost struct {
	start, signal, reap []float64
	size                int64   // bytes
	anonymous, resident uint64  // kB, with a gunicorn
	wakeups             int     // in the rest, with a gunicorn
	syscalls            int     // that strace has seen in it, but for those of its first second
	cpu                 float64 // ms
}

const (
	starts  = 200 // of each
	signals = 200
	crowds  = 3 // of orphans

	// rested is how long after all that is done to it a gunicorn is at rest. stablehand looks
	// for strays 1, 5, 21 and 85 s after a start, and then ever more seldom.
	rested = 90 * time.Second
)

// compareInits prints a table of what PID 1 costs.
func compareInits(ctx context.Context, o options) error {
	if err := os.Setenv("PATH", strings.Join([]string{filepath.Dir(o.stablehand), filepath.Join(absolute(o.envs), "servers/bin"), os.Getenv("PATH")}, ":")); err != nil {
		return err
	}
	programs := initPrograms(o)
	costs := make([]initCost, len(programs))
	idle := busy()
	for i, p := range programs {
		path, err := exec.LookPath(p.file)
		if err != nil {
			return fmt.Errorf("%s is not installed: %w", p.name, err)
		}
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		costs[i].size = info.Size()
	}
	for _, part := range []func(options, []initProgram, []initCost) error{measureStarts, measureGunicorns, measureOrphans} {
		if err := part(o, programs, costs); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	text := initTable(o, programs, costs) + "\n" + howBusy(idle, idle) + "\n"
	fmt.Print(text)
	if o.page == "" {
		return nil
	}
	return putInto(o.page, "inits", text)
}

func absolute(path string) string {
	whole, err := filepath.Abs(path)
	if err != nil {
		return path
	}
	return whole
}

// underway is words that run as PID 1 of a namespace of their own.
type underway struct {
	cmd *exec.Cmd
	out *os.File // its standard output
}

func startAsInit(words []string, dir string, more ...*os.File) (*underway, error) {
	out, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer in.Close()
	line := append(namespace(), words...)
	cmd := exec.Command(line[0], line[1:]...)
	cmd.Dir, cmd.Stdout, cmd.ExtraFiles = dir, in, more
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(err, out.Close())
	}
	return &underway{cmd, out}, nil
}

// read waits for a byte of its output.
func (u *underway) read() error {
	_, err := u.out.Read(make([]byte, 1))
	return err
}

func (u *underway) end() {
	u.cmd.Process.Kill()
	_ = u.cmd.Wait() // killed
	u.out.Close()
}

// first is the pid of its PID 1.
func (u *underway) first() (int, error) {
	children, err := proc.Children(u.cmd.Process.Pid)
	if err != nil || len(children) == 0 {
		return 0, fmt.Errorf("there is no PID 1 (%v)", err)
	}
	return children[0], nil
}

// measureStarts measures the time until what is started writes, beyond what it takes
// without an init.
func measureStarts(_ options, programs []initProgram, costs []initCost) error {
	printf := []string{"printf", "x"}
	for range starts {
		without, err := startTime(printf)
		if err != nil {
			return err
		}
		for i, p := range programs {
			with, err := startTime(slices.Concat(p.words, printf))
			if err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
			costs[i].start = append(costs[i].start, with-without)
		}
	}
	return nil
}

func startTime(words []string) (ms float64, err error) {
	begun := time.Now()
	u, err := startAsInit(words, "")
	if err != nil {
		return 0, err
	}
	defer u.end()
	err = u.read()
	return inMS(time.Since(begun)), err
}

func inMS(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// measureGunicorns has each start a gunicorn, and measures signals, one after the other,
// and then memory and rest, all at the same time.
func measureGunicorns(o options, programs []initProgram, costs []initCost) error {
	var rest errgroup.Group
	for i, p := range programs {
		dir, err := layGunicorn()
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		words := slices.Concat(p.words, []string{"gunicorn", "--workers=2", "--worker-tmp-dir=/dev/shm", "--log-level=error", "--bind=unix:socket", "app:app"})
		u, err := startAsInit(words, dir)
		if err != nil {
			return err
		}
		defer u.end()
		pid, err := u.signals(&costs[i])
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		rest.Go(func() error {
			time.Sleep(rested)
			return costs[i].rest(pid, o.rest)
		})
	}
	return rest.Wait()
}

// layGunicorn makes a directory with an application, and a configuration that tells of
// signals.
func layGunicorn() (dir string, err error) {
	if dir, err = os.MkdirTemp(quiet, "bench-"); err != nil {
		return "", err
	}
	config, err := siteFiles.ReadFile("site/inits.py")
	app := "def app(environ, start_response):\n    start_response('200 OK', [])\n    return [b'hello']\n"
	return dir, errors.Join(err, os.WriteFile(filepath.Join(dir, "gunicorn.conf.py"), config, 0o644),
		os.WriteFile(filepath.Join(dir, "app.py"), []byte(app), 0o644))
}

// signals sends it signals when gunicorn is ready, and measures until gunicorn's master
// handles each.
func (u *underway) signals(cost *initCost) (pid int, err error) {
	if err := u.read(); err != nil {
		return 0, err
	}
	if pid, err = u.first(); err != nil {
		return 0, err
	}
	time.Sleep(5 * settling)
	for range signals {
		begun := time.Now()
		if err := unix.Kill(pid, unix.SIGUSR1); err != nil {
			return 0, err
		}
		if err := u.read(); err != nil {
			return 0, err
		}
		cost.signal = append(cost.signal, inMS(time.Since(begun)))
		time.Sleep(20 * time.Millisecond)
	}
	return pid, nil
}

// rest lets it be, once by itself and once below strace.
func (c *initCost) rest(pid int, long time.Duration) (err error) {
	woken, cpu := wakeups(pid), ran(pid)
	time.Sleep(long)
	c.wakeups, c.cpu = wakeups(pid)-woken, inMS(ran(pid)-cpu)
	if c.anonymous, err = kilobytes(pid, "RssAnon"); err != nil {
		return err
	}
	if c.resident, err = kilobytes(pid, "VmRSS"); err != nil {
		return err
	}
	c.syscalls, err = straced(pid, long)
	return err
}

// wakeups is how often the threads of a process have given up a processor.
func wakeups(pid int) (n int) {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	for _, task := range tasks {
		text, _ := os.ReadFile(task)
		for line := range strings.Lines(string(text)) {
			var switches int
			if _, err := fmt.Sscanf(line, "voluntary_ctxt_switches: %d", &switches); err == nil {
				n += switches
			}
		}
	}
	return n
}

// straced counts the calls that strace sees in that time, but for those of a first second,
// in which it interrupts what was under way.
func straced(pid int, long time.Duration) (calls int, err error) {
	seconds := fmt.Sprint(int(long.Seconds()) + 1)
	var out bytes.Buffer
	cmd := exec.Command("timeout", "--signal=INT", seconds, "strace", "-f", "-r", "-p", fmt.Sprint(pid))
	cmd.Stderr = &out
	begun := time.Now()
	if err := cmd.Run(); err != nil && time.Since(begun) < long {
		return 0, fmt.Errorf("strace: %w: %s", err, out.Bytes())
	}
	var at float64
	for line := range strings.Lines(out.String()) {
		if _, rest, ok := strings.Cut(line, "[pid"); ok {
			_, line, _ = strings.Cut(rest, "]")
		}
		var since float64
		if _, err := fmt.Sscan(line, &since); err != nil {
			continue // strace's own
		}
		if at += since; at > 1 && !strings.Contains(line, "detached") {
			calls++
		}
	}
	return calls, nil
}

// crowd is a script that leaves so many orphans to PID 1, which end when descriptor 3 does.
const crowd = `(i=0; while [ $i -lt %d ]; do read x <&3 & i=$((i+1)); done); exec sleep 1000`

// measureOrphans has many orphans end at once, and measures until all are reaped.
func measureOrphans(o options, programs []initProgram, costs []initCost) error {
	for range crowds {
		for i, p := range programs {
			ms, err := orphansReaped(p, o.orphans)
			if err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
			costs[i].reap = append(costs[i].reap, ms)
		}
	}
	return nil
}

func orphansReaped(p initProgram, orphans int) (ms float64, err error) {
	hold, release, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	defer release.Close()
	u, err := startAsInit(slices.Concat(p.words, []string{"sh", "-c", fmt.Sprintf(crowd, orphans)}), "", hold)
	hold.Close()
	if err != nil {
		return 0, err
	}
	defer u.end()
	if err := u.awaitChildren(func(n int) bool { return n > orphans }); err != nil {
		return 0, err
	}
	time.Sleep(settling) // the last of them gets to its read
	begun := time.Now()
	release.Close()
	if err := u.awaitChildren(func(n int) bool { return n == 1 }); err != nil {
		return 0, err
	}
	return inMS(time.Since(begun)), nil
}

// awaitChildren waits until PID 1 has so many children, zombies among them.
func (u *underway) awaitChildren(enough func(int) bool) error {
	n := 0
	for end := time.Now().Add(startPatience); time.Now().Before(end); time.Sleep(look) {
		first, err := u.first()
		if err != nil {
			continue // unshare is about to start it
		}
		children, err := proc.Children(first)
		if n = len(children); err == nil && enough(n) {
			return nil
		}
	}
	return fmt.Errorf("PID 1 has %d children, and was to get more, or to reap them", n)
}
