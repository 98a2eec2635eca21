package gunicorn

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/singleflight"
	"golang.org/x/sys/unix"

	"github.com/stablehand/stablehand/internal/deaf"
	"github.com/stablehand/stablehand/internal/proc"
	"github.com/stablehand/stablehand/internal/small"
)

// answerLimit is how long file systems may take to say what lies at the paths
// that a handoff depends on. One that hangs, on a server or a daemon that is not
// there, would never give back who asks it.
const answerLimit = 2 * time.Second

// place is what a file system says of a path.
type place struct {
	info fs.FileInfo
	err  error  // of stat(2)
	run  error  // why it cannot be run; nil if it can
	name string // the path without symlinks, if there is one
}

// asked are the questions that have not been answered yet. Who asks again of
// such a path waits for the same answer, so that no more than one goroutine, and
// its thread, is ever left for a path.
var asked singleflight.Group

// lookAt asks what lies at a path, beside, and waits until ctx ends, whose time
// is answerLimit at most. The error is small.ErrHangs where no answer has come by then.
func lookAt(ctx context.Context, path string) (place, error) {
	answer := asked.DoChan(path, func() (any, error) {
		var p place
		deaf.Call(func() { p = look(path) })
		return p, nil
	})
	select {
	case a := <-answer:
		return a.Val.(place), nil
	case <-ctx.Done():
		return place{}, small.ErrHangs
	}
}

// look asks what lies at a path, for as long as it takes.
func look(path string) (p place) {
	if p.info, p.err = os.Stat(path); p.err != nil {
		return p
	}
	p.run = unix.Access(path, unix.X_OK)
	p.name, _ = filepath.EvalSymlinks(path) // empty where it has just gone
	return p
}

// canExec makes sure that USR2 will get as far as a new program. Where its exec
// fails, the child that gunicorn has forked is still a copy of the master, goes
// through the copy's shutdown, and so kills the master's own workers (seen on
// 20.1.0 to 27.0.1 with an interpreter that had gone). Where it hangs, so does
// the fork.
func (m *Master) canExec(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	for _, need := range []struct {
		what, path string // the path is empty where it is not known
		wrong      func(place) error
	}{
		{"gunicorn's interpreter", m.interpreter, cannotRun}, // see interpreter
		{"gunicorn's working directory", m.dir, isNoDir},     // see startDir
	} {
		if need.path == "" {
			continue
		}
		p, err := lookAt(limited, need.path)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			return advised{fmt.Errorf("%s %s does not answer: %w", need.what, need.path, err), "see to what it is mounted from"}
		}
		if err := need.wrong(p); err != nil {
			return fmt.Errorf("%s %s %w", need.what, need.path, err)
		}
	}
	return nil
}

// Answers makes sure that the file systems answer by which a program starts in a directory:
// that of the directory, of the program, and of what its first line says is to run it. Of a
// path that is not absolute, or of what is not there, it says nothing.
func Answers(ctx context.Context, dir, program string) error {
	limited, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	if !path.IsAbs(program) {
		program = path.Join(dir, program)
	}
	hangs := func(what, file string) error {
		if !path.IsAbs(file) {
			return nil
		}
		_, err := lookAt(limited, file)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			return advised{fmt.Errorf("%s %s does not answer: %w", what, file, err), "see to what it is mounted from"}
		}
		return nil
	}
	if err := errors.Join(hangs("the working directory", dir), hangs("the program", program)); err != nil {
		return err
	}
	first, _, _ := small.Read(limited, program, firstLine, 0) // what cannot be read is for exec to say
	line, _, _ := strings.Cut(string(first), "\n")
	script, is := strings.CutPrefix(line, "#!")
	if words := strings.Fields(script); is && len(words) > 0 {
		return hangs("the interpreter of "+program+",", words[0])
	}
	return nil
}

// firstLine is how much the kernel reads of a script's first line (BINPRM_BUF_SIZE).
const firstLine = 256

func cannotRun(p place) error {
	if err := errors.Join(p.err, p.run); err != nil {
		return fmt.Errorf("cannot be run: %w", bare(err))
	}
	return nil
}

// bare is the error's reason, without the path.
func bare(err error) error {
	var errno unix.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return err
}

func isNoDir(p place) error {
	if p.err != nil || !p.info.IsDir() {
		return errors.New("has gone")
	}
	return nil
}

// learnAll learns of a master that is ready what can only be learned of such a
// one, and reports it. It holds nobody up for more than answerLimit.
func (m *Master) learnAll(ctx context.Context, now Workers, report func(Workers)) {
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	m.learnWhere(ctx)
	told := m.setup(ctx)
	m.preloads.Store(told.Preload)
	if now.Reloads = told.Reload || m.watchesAsReloader(); now.Reloads {
		report(now)
	}
}

// learnWhere learns what canExec is to look at. What does not answer, or may not
// be looked at, stays not known.
func (m *Master) learnWhere(ctx context.Context) {
	m.interpreter = interpreter(ctx, m.PID())
	m.dir = startDir(ctx, m.PID())
}

// interpreter is the path by which gunicorn execs its successor's Python: its
// own sys.executable, symlinks and all. Python makes it of the word that it was
// started by, which is found in PATH, or taken from the directory that was the
// working one then, see beganIn. It is empty where none of these is a program, or
// we may not look, or a file system hangs: what lies behind that one is not known.
func interpreter(ctx context.Context, pid int) string {
	argv, err := proc.Cmdline(pid)
	if err != nil || len(argv) == 0 {
		return ""
	}
	word := argv[0]
	if path.IsAbs(word) {
		return word
	}
	if !python().MatchString(path.Base(word)) {
		return "" // setproctitle has written over it
	}
	var dirs []string
	if strings.Contains(word, "/") {
		dirs = beganIn(ctx, pid)
	} else {
		search, _ := proc.Environ(pid, "PATH") // empty where we may not look
		dirs = strings.Split(search, ":")
	}
	for _, dir := range dirs {
		file := path.Join(dir, word)
		if !path.IsAbs(file) {
			continue
		}
		p, err := lookAt(ctx, file)
		if err != nil {
			return ""
		}
		if p.err == nil && p.info.Mode().IsRegular() && p.run == nil {
			return file
		}
	}
	return ""
}

// beganIn lists the directories that may have been the working one when a process
// was started, the likeliest first, by their names without symlinks: those are what
// Python takes. Where PWD names the one that it is in now, this it was. Otherwise
// either gunicorn has changed to it since, from stablehand's own or from the one that
// a shell had changed to, or PWD is of a shell further up, and says nothing.
// A directory whose name cannot be read is empty.
func beganIn(ctx context.Context, pid int) []string {
	cwd, _ := proc.Dir(pid)
	ours, _ := proc.Dir(os.Getpid())
	pwd, _ := proc.Environ(pid, "PWD")
	if isDirOf(ctx, pwd, pid) {
		return []string{cwd}
	}
	named, _ := lookAt(ctx, pwd)
	return []string{ours, cwd, named.name}
}

// startDir is the name of the directory in which gunicorn starts its successor:
// that of its working directory once it had read its configuration, as
// util.getcwd finds it. It is PWD's where that names the same directory, a
// symlink perhaps. It is empty where we may not look, or a file system hangs.
func startDir(ctx context.Context, pid int) string {
	if _, err := lookAt(ctx, proc.DirLink(pid)); err != nil {
		return ""
	}
	if pwd, err := proc.Environ(pid, "PWD"); err == nil && isDirOf(ctx, pwd, pid) {
		return pwd
	}
	dir, _ := proc.Dir(pid)
	return strings.TrimSuffix(dir, " (deleted)")
}

// isDirOf says whether a path leads to a process's working directory, as far as
// is known.
func isDirOf(ctx context.Context, path string, pid int) bool {
	if path == "" {
		return false
	}
	one, err := lookAt(ctx, path)
	other, err2 := lookAt(ctx, proc.DirLink(pid))
	return errors.Join(err, err2, one.err, other.err) == nil && os.SameFile(one.info, other.info)
}
