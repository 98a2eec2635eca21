package main_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// hostileCommands are the words for surroundings that do not do their part.
//
//	stall [NAME]             let nobody read its output any more, see -unread: the
//	                         pipe is full
//	drain [NAME]             read it again
//	bindfs SOURCE DIR        mount one directory at another, by a file system of
//	                         which a program has to answer each question
//	hang DIR                 let that program answer nothing
//	unhang DIR               let it answer all
//	limit [NAME] WHAT[+N]    let it have no more than it has, or N more, of
//	                         descriptors, of its user's processes, or, with all of
//	                         its namespace, of a cgroup's processes: nofile, nproc,
//	                         pids
//	unlimit [NAME] WHAT      undo that, but for nofile
//	weigh [NAME]             note what it takes now
//	grown [NAME] CLAIM...    check by how much more it takes than was noted:
//	                         threads<=N sockets<=N files<=N anonymous<=N, in kB
//	cpu [NAME] DURATION<N%   watch it for so long: it uses less than so much of a
//	                         processor; raceFactor times as much under -race
//	idle ADDRESS N           hold so many connections there, on which nothing is
//	                         said; one that is closed is made anew a second later
//	flood METHOD URL N       ask N times, from a few connections, and print how
//	                         often there was each answer
var hostileCommands = map[string]func(*testscript.TestScript, bool, []string){
	"stall":   cmdStall,
	"drain":   cmdDrain,
	"bindfs":  cmdBindfs,
	"hang":    cmdHang,
	"unhang":  cmdUnhang,
	"limit":   cmdLimit,
	"unlimit": cmdUnlimit,
	"weigh":   cmdWeigh,
	"grown":   cmdGrown,
	"cpu":     cmdCPU,
	"idle":    cmdIdle,
	"flood":   cmdFlood,
}

func init() {
	for word, do := range hostileCommands {
		commands[word] = do
	}
}

// hostileCondition says whether this machine has what a word needs.
func hostileCondition(cond string) (has, known bool) {
	switch cond {
	case "fuse": // mounts are made by root, before the program's namespace
		_, err := exec.LookPath("bindfs")
		return err == nil && os.Getuid() == 0 && unix.Access("/dev/fuse", unix.R_OK|unix.W_OK) == nil, true
	case "pids":
		_, err := pidsCgroup()
		return err == nil && os.Getuid() == 0, true
	case "memory":
		_, _, err := memoryParent()
		return err == nil && os.Getuid() == 0, true
	case "killed-together": // see memory
		_, v2, err := memoryParent()
		return err == nil && v2, true
	case "root":
		return os.Getuid() == 0, true
	}
	return false, false
}

// pipe takes a program's output to its log, as long as somebody reads it.
type pipe struct {
	in      *os.File // what is read
	log     *os.File // where it is written to
	copying sync.WaitGroup
}

// open returns the end for the program; the caller closes it.
func (p *pipe) open(log string, stalled bool) (end *os.File, err error) {
	if p.log, err = os.OpenFile(log, os.O_WRONLY|os.O_APPEND, 0); err != nil {
		return nil, err
	}
	if p.in, end, err = os.Pipe(); err != nil {
		return nil, err
	}
	if stalled {
		return end, p.fill()
	}
	p.drain()
	return end, nil
}

// stall leaves the pipe full, with nobody who reads it.
func (p *pipe) stall() error {
	p.in.SetReadDeadline(time.Now())
	p.copying.Wait()
	return p.fill()
}

// fill writes until nothing more fits, in lines.
func (p *pipe) fill() error {
	// A description of its own: O_NONBLOCK is not for the program's.
	end, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", fd(p.in)), unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(end)
	const page = 4096
	for _, piece := range []string{strings.Repeat("~", page-1) + "\n", "\n"} {
		for err == nil || err == unix.EINTR {
			_, err = unix.Write(end, []byte(piece))
		}
		if err != unix.EAGAIN {
			return err
		}
		err = nil
	}
	return nil
}

func (p *pipe) drain() {
	p.in.SetReadDeadline(time.Time{})
	p.copying.Go(func() { io.Copy(p.log, p.in) })
}

// close comes after the program's end.
func (p *pipe) close() {
	p.in.SetReadDeadline(time.Now().Add(time.Second)) // for its last words
	p.copying.Wait()
	p.in.Close()
	p.log.Close()
}

// fd is a file's number. Fd of package os would make the file a blocking one.
func fd(f *os.File) (n uintptr) {
	if raw, err := f.SyscallConn(); err == nil {
		raw.Control(func(fd uintptr) { n = fd })
	}
	return n
}

func cmdStall(ts *testscript.TestScript, neg bool, args []string) {
	p := onlyProgram(ts, neg, args)
	if p.pipe == nil {
		ts.Fatalf("%s was not started with -piped", p.name)
	}
	ts.Check(p.pipe.stall())
}

func cmdDrain(ts *testscript.TestScript, neg bool, args []string) {
	p := onlyProgram(ts, neg, args)
	if p.pipe == nil {
		ts.Fatalf("%s was not started with -unread or -piped", p.name)
	}
	p.pipe.drain()
}

// onlyProgram is the program of a word that takes nothing else.
func onlyProgram(ts *testscript.TestScript, neg bool, args []string) *program {
	refuse(ts, neg)
	p, args := named(ts, args)
	if len(args) > 0 {
		ts.Fatalf("there is no program called %s", args[0])
	}
	return p
}

// mounts are the programs behind a script's mounts, by directory.
var mounts sync.Map // of string to *exec.Cmd

func cmdBindfs(ts *testscript.TestScript, neg bool, args []string) {
	refuse(ts, neg)
	if len(args) != 2 {
		ts.Fatalf("usage: bindfs SOURCE DIR")
	}
	source, dir := ts.MkAbs(args[0]), ts.MkAbs(args[1])
	ts.Check(os.MkdirAll(dir, 0o755))
	// Each question is to reach it, and none be answered from what the kernel remembers.
	cmd := exec.Command("bindfs", "-f", "-o", "attr_timeout=0,entry_timeout=0,negative_timeout=0", source, dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	ts.Check(cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	mounts.Store(dir, cmd)
	ts.Defer(func() {
		// In this order: a question that it has taken and not answered cannot be killed.
		cmd.Process.Signal(syscall.SIGCONT)
		unix.Unmount(dir, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		cmd.Process.Kill() // the program's namespace has the mount, too
		ended <- <-ended
		mounts.Delete(dir)
	})
	for deadline := time.Now().Add(patience); ; time.Sleep(look) {
		var st unix.Statfs_t
		if unix.Statfs(dir, &st) == nil && st.Type == unix.FUSE_SUPER_MAGIC {
			return
		}
		select {
		case err := <-ended:
			ended <- err
			ts.Fatalf("bindfs: %v: %s", err, said.String())
		default:
		}
		if time.Now().After(deadline) {
			ts.Fatalf("bindfs has not mounted %s in %s", dir, patience)
		}
	}
}

func cmdHang(ts *testscript.TestScript, neg bool, args []string) {
	hang(ts, neg, args, syscall.SIGSTOP, "T")
}
func cmdUnhang(ts *testscript.TestScript, neg bool, args []string) {
	hang(ts, neg, args, syscall.SIGCONT, "SRD")
}

func hang(ts *testscript.TestScript, neg bool, args []string, sig syscall.Signal, states string) {
	refuse(ts, neg)
	if len(args) != 1 {
		ts.Fatalf("usage: hang DIR, or unhang DIR")
	}
	found, ok := mounts.Load(ts.MkAbs(args[0]))
	if !ok {
		ts.Fatalf("bindfs has not mounted %s", args[0])
	}
	behind := found.(*exec.Cmd).Process
	ts.Check(behind.Signal(sig))
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(look) {
		if p, err := readProc(fmt.Sprintf("/proc/%d", behind.Pid)); err == nil && strings.Contains(states, p.state) {
			return
		}
	}
	ts.Fatalf("bindfs does not take %s", sig)
}

// keyLimits is where what a script has limited is kept.
type keyLimits struct{} // map[string]func() error: what undoes it

func cmdLimit(ts *testscript.TestScript, neg bool, args []string) {
	p, words := limited(ts, neg, args)
	what, more, _ := strings.Cut(words, "+")
	room, err := strconv.Atoi("0" + more)
	ts.Check(err)
	var undo func() error
	switch what {
	case "nofile":
		err = limitTo(p.pid, what, strconv.Itoa(freeAfter(p.pid, room)))
	case "nproc": // it has more than one
		err = limitTo(p.pid, what, "1:")
		undo = func() error { return limitTo(p.pid, what, "1000:") }
	case "pids":
		var free func() error
		undo, free, err = limitPids(p, room)
		ts.Defer(func() { ts.Check(free()) })
	default:
		ts.Fatalf("limit does not know %q", what)
	}
	ts.Check(err)
	limits(ts)[p.name+" "+what] = undo
}

func cmdUnlimit(ts *testscript.TestScript, neg bool, args []string) {
	p, what := limited(ts, neg, args)
	undo := limits(ts)[p.name+" "+what]
	if undo == nil {
		ts.Fatalf("%s of %s was not limited, or cannot be unlimited", what, p.name)
	}
	ts.Check(undo())
}

func limits(ts *testscript.TestScript) map[string]func() error {
	return ts.Value(keyLimits{}).(map[string]func() error)
}

func limited(ts *testscript.TestScript, neg bool, args []string) (p *program, what string) {
	refuse(ts, neg)
	p, args = named(ts, args)
	if len(args) != 1 {
		ts.Fatalf("usage: limit [NAME] nofile[+N]|nproc|pids[+N], or unlimit [NAME] nproc|pids")
	}
	if p.pid == 0 || p.hasEnded() {
		fail(ts, p, "%s has ended", p.name)
	}
	return p, args[0]
}

// limitTo sets a limit of a process, both the soft and the hard one unless that is
// to be undone. It asks as the process's own user: root may lack CAP_SYS_RESOURCE.
func limitTo(pid int, resource, limit string) error {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return err
	}
	cmd := exec.Command("prlimit", fmt.Sprintf("--pid=%d", pid), "--"+resource+"="+limit)
	if os.Getuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{
			Uid: uint32(sum(regexp.MustCompile(`(?m)^Uid:\s+(\d+)`), status)),
			Gid: uint32(sum(regexp.MustCompile(`(?m)^Gid:\s+(\d+)`), status)),
		}}
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%v: %w: %s", cmd.Args, err, out)
	}
	return nil
}

// freeAfter is the number that a process's next descriptor would get after so many
// more. With it as the limit there is none after those.
func freeAfter(pid, more int) (n int) {
	for ; ; n++ {
		if _, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", pid, n)); err == nil {
			continue
		}
		if more--; more < 0 {
			return n
		}
	}
}

// pidsCgroup is where cgroups for numbers of processes can be made.
func pidsCgroup() (dir string, err error) {
	const v1, v2 = "/sys/fs/cgroup/pids", "/sys/fs/cgroup"
	if _, err := os.Stat(v1 + "/cgroup.procs"); err == nil {
		return v1, nil
	}
	controllers, err := os.ReadFile(v2 + "/cgroup.subtree_control")
	if err == nil && !bytes.Contains(controllers, []byte("pids")) {
		err = errors.New("the cgroups here have no pids controller")
	}
	return v2, err
}

// limitPids puts every process of a program's namespace into a cgroup that has
// room for those, and so many more. free takes them out again and removes it.
func limitPids(p *program, room int) (undo, free func() error, err error) {
	nothing := func() error { return nil }
	parent, err := pidsCgroup()
	if err != nil {
		return nothing, nothing, err
	}
	dir, err := os.MkdirTemp(parent, "stablehand-e2e-")
	if err != nil {
		return nothing, nothing, err
	}
	write := func(file, text string) error { return os.WriteFile(file, []byte(text), 0) }
	free = func() error {
		write(dir+"/pids.max", "max")
		inside, _ := os.ReadFile(dir + "/cgroup.procs")
		for _, pid := range strings.Fields(string(inside)) {
			write(parent+"/cgroup.procs", pid)
		}
		return unix.Rmdir(dir)
	}
	for range 2 { // what has been forked meanwhile is seen the second time
		for _, q := range append(p.others(), proc{pid: p.pid}) {
			if err := write(dir+"/cgroup.procs", strconv.Itoa(q.pid)); err != nil && !errors.Is(err, unix.ESRCH) {
				return nothing, free, err
			}
		}
	}
	text, err := os.ReadFile(dir + "/pids.current")
	if err != nil {
		return nothing, free, err
	}
	current, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return nothing, free, err
	}
	return func() error { return write(dir+"/pids.max", "max") }, free, write(dir+"/pids.max", strconv.Itoa(current+room))
}

// weight is what a process takes.
type weight struct{ threads, sockets, files, anonymous int }

// String is also how it is claimed of, see cmdGrown.
func (w weight) String() string {
	return fmt.Sprintf("threads %d, sockets %d, files %d, anonymous %d kB", w.threads, w.sockets, w.files, w.anonymous)
}

func weigh(pid int) (w weight, err error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return w, err
	}
	w.threads = sum(regexp.MustCompile(`(?m)^Threads:\s+(\d+)`), status)
	w.anonymous = sum(regexp.MustCompile(`(?m)^RssAnon:\s+(\d+)`), status)
	open, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	for _, file := range open {
		to, _ := os.Readlink(file)
		if strings.HasPrefix(to, "socket:") {
			w.sockets++
		}
		w.files++
	}
	return w, err
}

func cmdWeigh(ts *testscript.TestScript, neg bool, args []string) {
	p := onlyProgram(ts, neg, args)
	now, err := weigh(p.pid)
	ts.Check(err)
	fmt.Fprintln(ts.Stdout(), now)
	p.weight = now
}

// grownSettles is how long what is over may take to be given back.
const grownSettles = 10 * time.Second

func cmdGrown(ts *testscript.TestScript, neg bool, args []string) {
	refuse(ts, neg)
	p, args := named(ts, args)
	if p.weight == (weight{}) || len(args) == 0 {
		ts.Fatalf("usage: weigh [NAME], then grown [NAME] CLAIM...")
	}
	var wrong error
	for deadline := time.Now().Add(grownSettles); ; time.Sleep(look) {
		now, err := weigh(p.pid)
		ts.Check(err)
		wrong = nil
		for _, claim := range args {
			wrong = errors.Join(wrong, now.check(p.weight, claim))
		}
		if wrong == nil || time.Now().After(deadline) {
			fmt.Fprintln(ts.Stdout(), now)
			break
		}
	}
	if wrong != nil {
		fail(ts, p, "%v", wrong)
	}
}

// check says in what way a weight has grown by more than is claimed.
func (w weight) check(before weight, claim string) error {
	what, most, ok := strings.Cut(claim, "<=")
	limit, err := strconv.Atoi(most)
	if !ok || err != nil {
		return fmt.Errorf("grown does not know %q", claim)
	}
	by, known := map[string]int{
		"threads":   w.threads - before.threads,
		"sockets":   w.sockets - before.sockets,
		"files":     w.files - before.files,
		"anonymous": w.anonymous - before.anonymous,
	}[what]
	if !known {
		return fmt.Errorf("grown does not know %q", claim)
	}
	if by > limit {
		return fmt.Errorf("%s have grown by %d, claimed was %s: it took %s, and takes %s", what, by, claim, before, w)
	}
	return nil
}

// raceFactor is how much more than without it a binary built with -race may use.
const raceFactor = 4

func cmdCPU(ts *testscript.TestScript, neg bool, args []string) {
	refuse(ts, neg)
	p, args := named(ts, args)
	if len(args) != 1 {
		ts.Fatalf("usage: cpu [NAME] DURATION<N%%")
	}
	long, most, ok := strings.Cut(strings.TrimSuffix(args[0], "%"), "<")
	duration, err := time.ParseDuration(long)
	limit, err2 := strconv.ParseFloat(most, 64)
	if ts.Check(errors.Join(err, err2)); !ok {
		ts.Fatalf("usage: cpu [NAME] DURATION<N%%")
	}
	if os.Getenv(envBinary) == "" && haveCompiler() {
		limit *= raceFactor
	}
	before, begun := processorTime(ts, p), time.Now()
	time.Sleep(duration)
	used := processorTime(ts, p) - before
	percent := 100 * used.Seconds() / time.Since(begun).Seconds()
	fmt.Fprintf(ts.Stdout(), "%.1f%%\n", percent)
	if percent >= limit {
		fail(ts, p, "%s has used %.1f %% of a processor for %s, want less than %.1f", p.name, percent, duration, limit)
	}
}

// processorTime is what all threads of a program have used so far.
func processorTime(ts *testscript.TestScript, p *program) time.Duration {
	const tick = 10 * time.Millisecond // USER_HZ, see proc(5)
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.pid))
	if err != nil {
		fail(ts, p, "%v", err)
	}
	// The state is the third field, utime and stime the 14th and 15th.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	user, err := strconv.Atoi(fields[14-3])
	system, err2 := strconv.Atoi(fields[15-3])
	ts.Check(errors.Join(err, err2))
	return time.Duration(user+system) * tick
}

// idleAgain is how long after its end an idle connection is made anew: as by many
// who each come once, and not by one who storms.
const idleAgain = time.Second

func cmdIdle(ts *testscript.TestScript, neg bool, args []string) {
	refuse(ts, neg)
	if len(args) != 2 {
		ts.Fatalf("usage: idle ADDRESS N")
	}
	count, err := strconv.Atoi(args[1])
	ts.Check(err)
	over := make(chan struct{})
	var ended, made sync.WaitGroup
	made.Add(count)
	for range count {
		ended.Go(func() { idle(args[0], over, sync.OnceFunc(made.Done)) })
	}
	ts.Defer(func() {
		close(over)
		ended.Wait()
	})
	made.Wait()
}

// idle holds a connection until it is over. It says when there first was one.
func idle(address string, over <-chan struct{}, first func()) {
	defer first()
	for {
		if conn, err := net.DialTimeout("tcp", address, patience); err == nil {
			first()
			closed := make(chan struct{})
			go func() {
				io.Copy(io.Discard, conn)
				close(closed)
			}()
			select {
			case <-over:
			case <-closed:
			}
			conn.Close()
			<-closed
		}
		select {
		case <-over:
			return
		case <-time.After(idleAgain):
		}
	}
}

// floodClients is how many connections a flood comes from.
const floodClients = 8

func cmdFlood(ts *testscript.TestScript, neg bool, args []string) {
	refuse(ts, neg)
	if len(args) != 3 {
		ts.Fatalf("usage: flood METHOD URL N")
	}
	count, err := strconv.ParseInt(args[2], 10, 64)
	ts.Check(err)
	transport := &http.Transport{MaxIdleConnsPerHost: floodClients}
	defer transport.CloseIdleConnections()
	client := &http.Client{Timeout: patience, Transport: transport}
	var asked atomic.Int64
	var clients sync.WaitGroup
	var mu sync.Mutex
	answers := map[string]int{}
	for range floodClients {
		clients.Go(func() {
			for asked.Add(1) <= count {
				answer := request(client, args[0], args[1])
				mu.Lock()
				answers[answer]++
				mu.Unlock()
			}
		})
	}
	clients.Wait()
	for answer, n := range answers {
		fmt.Fprintf(ts.Stdout(), "%d times %s\n", n, answer)
	}
}

// request is the status of the answer, or the error.
func request(client *http.Client, method, url string) string {
	request, err := http.NewRequest(method, url, nil)
	if err != nil {
		return err.Error()
	}
	resp, err := client.Do(request)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, resp.Body)
	return resp.Status
}
