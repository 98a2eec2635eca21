package main_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	// patience is how long a script waits for anything. It is generous, since
	// it only decides how late a failure is told.
	patience = 60 * time.Second

	// look is the pause between two looks at something that sends no event.
	look = 5 * time.Millisecond
)

// program is a stablehand, or another program, that a script started.
type program struct {
	name  string
	words []string // its command line
	mode  mode
	log   string // path of the file with its standard output and error
	read  int    // how much of the log await has consumed

	aborted bool // the script has sent it ABRT

	pipe   *pipe         // takes its output to the log, if it is not written there at once
	unread bool          // nobody is to read that, at first
	weight weight        // as last noted
	memory *memoryCgroup // in which it runs, if there is one

	outside *exec.Cmd     // unshare, which lives as long as the namespace, or nsenter
	beside  *program      // in whose namespace this one runs, if not in its own
	stay    *os.File      // held open so that our init stays, see runInit
	ended   chan struct{} // closed when it has ended
	code    int           // its exit code, once it has ended
	gone    chan struct{} // closed when the namespace has ended
	first   int           // the pid of its PID 1 in our own namespace; 0 if never seen
	pid     int           // the program's own
	handle  *os.Process   // the program's own
}

// start starts the program in a namespace of its own and returns when it runs,
// or has ended already.
func (p *program) start(dir string, env []string) error {
	// To be appended to, as a pipe is, also by who opens it anew as /dev/fd/1.
	logFile, err := os.OpenFile(p.log, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|os.O_APPEND, 0o666)
	if err != nil {
		return err
	}
	defer logFile.Close()
	if p.pipe != nil {
		end, err := p.pipe.open(p.log, p.unread)
		if err != nil {
			return err
		}
		defer end.Close()
		logFile = end
	}
	p.ended, p.gone = make(chan struct{}), make(chan struct{})
	if p.mode == notAsInit && p.beside == nil {
		return p.startBelowInit(dir, env, logFile)
	}
	p.outside = p.command(dir, env, p.words, logFile)
	if err := p.outside.Start(); err != nil {
		return err
	}
	go func() {
		p.outside.Wait()
		p.code = exitCode(p.outside.ProcessState.Sys().(syscall.WaitStatus))
		close(p.ended)
		close(p.gone)
	}()
	return p.find()
}

// startBelowInit starts our own init as PID 1, and the program below it.
func (p *program) startBelowInit(dir string, env []string, logFile *os.File) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	stdin, stay, err := os.Pipe()
	if err != nil {
		return err
	}
	report, reportEnd, err := os.Pipe()
	if err != nil {
		return err
	}
	p.stay = stay
	p.outside = p.command(dir, append(env, envInit+"=1"), append([]string{self}, p.words...), logFile)
	p.outside.Stdin = stdin
	p.outside.ExtraFiles = []*os.File{reportEnd}
	err = p.outside.Start()
	stdin.Close()
	reportEnd.Close()
	if err != nil {
		return err
	}
	go func() {
		code, err := bufio.NewReader(report).ReadString('\n')
		report.Close()
		p.code, _ = strconv.Atoi(strings.TrimSpace(code))
		if err != nil {
			p.code = -1
		}
		close(p.ended)
	}()
	go func() {
		p.outside.Wait()
		close(p.gone)
	}()
	return p.find()
}

func (p *program) command(dir string, env, words []string, logFile *os.File) *exec.Cmd {
	line := unshare(p.mode, words...)
	if p.beside != nil {
		line = append(enter(p.mode, p.beside.first, dir), words...)
	}
	if p.memory != nil {
		line = p.memory.has(line)
	}
	cmd := exec.Command(line[0], line[1:]...)
	cmd.Dir = dir
	cmd.Env = env
	cmd.Stdout, cmd.Stderr = logFile, logFile
	// A test that is killed takes the namespace with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// findFirst waits for the namespace's PID 1. There is none to be found when the
// namespace has ended already.
func (p *program) findFirst() {
	for {
		if below := tree(p.outside.Process.Pid); len(below) > 1 {
			p.first = below[1].pid
			return
		}
		select {
		case <-p.gone:
			return
		case <-time.After(look):
		}
	}
}

// find waits until the program runs, as PID 1 or below it.
func (p *program) find() error {
	const longest = 15 // characters of a process's name, see PR_SET_NAME in prctl(2)
	comm := filepath.Base(p.words[0])
	comm = comm[:min(len(comm), longest)]
	parent := p.outside.Process.Pid
	switch {
	case p.beside != nil:
		p.first = p.beside.first
	case p.mode == notAsInit:
		p.findFirst()
		parent = p.first
	default:
		p.findFirst()
	}
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		for _, child := range tree(parent) {
			if child.ppid != parent || child.comm != comm {
				continue
			}
			p.pid = child.pid
			var err error
			p.handle, err = os.FindProcess(child.pid)
			return err
		}
		select {
		case <-p.ended:
			return nil // so quickly that nobody saw it
		case <-time.After(look):
		}
	}
	return fmt.Errorf("%s never ran:\n%s", p.name, p.logged())
}

// others lists the processes of the namespace but the program and our own init.
// Those below one that was started beside another descend from it, and not from
// PID 1.
func (p *program) others() []proc {
	all := tree(p.first)
	if p.beside != nil && p.pid != 0 {
		all = append(all, tree(p.pid)...)
	}
	return slices.DeleteFunc(all, func(q proc) bool {
		return q.pid == p.pid || p.mode == notAsInit && q.pid == p.first
	})
}

// await waits for lines of the log, after the last one awaited: for each pattern the
// first that matches, in any order, since what two processes write has none. It returns
// the line of the first pattern, and fails when the program ends without one of them.
func (p *program) await(patterns ...*regexp.Regexp) (string, error) {
	for deadline := time.Now().Add(patience); ; {
		ended := p.hasEnded() // before the log is read, so that its end is in it
		if ended && p.pipe != nil {
			p.pipe.close()
		}
		line, missing := p.next(patterns)
		if missing == nil {
			return line, nil
		}
		if ended {
			return "", fmt.Errorf("%s ended with code %d and never logged %q", p.name, p.code, missing)
		}
		if time.Now().After(deadline) {
			return "", fmt.Errorf("%s did not log %q in %s", p.name, missing, patience)
		}
		time.Sleep(look)
	}
}

// next looks for whole lines that match in what of the log is not consumed yet. It
// returns the one of the first pattern, and consumes the log up to the last of them; or
// it returns the pattern that no line matches.
func (p *program) next(patterns []*regexp.Regexp) (line string, missing *regexp.Regexp) {
	rest := p.logged()[p.read:]
	rest = rest[:strings.LastIndexByte(rest, '\n')+1]
	last := 0
	for i, pattern := range patterns {
		found, end := matching(rest, pattern)
		if end < 0 {
			return "", pattern
		}
		if i == 0 {
			line = found
		}
		last = max(last, end)
	}
	p.read += last
	return line, nil
}

// matching returns the first line that matches, and where it ends, or -1.
func matching(text string, pattern *regexp.Regexp) (line string, end int) {
	for line := range strings.Lines(text) {
		end += len(line)
		if pattern.MatchString(line) {
			return line, end
		}
	}
	return "", -1
}

func (p *program) hasEnded() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

func (p *program) logged() string {
	log, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(log)
}

// end ends the namespace with all that is in it, and returns when it is gone.
func (p *program) end() error {
	if p.outside == nil || p.outside.Process == nil {
		return nil
	}
	if p.beside != nil {
		p.beside.end()
	}
	p.outside.Process.Kill()
	if p.mode == asNobody && p.handle != nil {
		p.handle.Kill() // what is to kill it with unshare ends when the user changes, see PR_SET_PDEATHSIG in prctl(2)
	}
	<-p.gone
	if p.pipe != nil {
		p.pipe.close()
	}
	if p.stay != nil {
		p.stay.Close()
	}
	if p.first == 0 {
		return nil
	}
	// The kernel lets a PID 1 end after every other process of its namespace.
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(look) {
		if over(p.first) {
			return nil
		}
	}
	return fmt.Errorf("the namespace of %s is still there: %v", p.name, tree(p.first))
}
