package main_test

import (
	"errors"
	"flag"
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

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// commands are the words that scripts have beside testscript's own. NAME is
// that of a program and may be left out for the one called stablehand.
//
//	stablehand [-init|-user|-nobody|-subreap] [-beside=NAME] [-piped|-unread] [&NAME&] WORD...
//	                         start it, its output in NAME.log, in a namespace
//	                         of its own or in that of another one; with -piped its output goes there through a pipe,
//	                         with -unread one that is full and that nobody reads
//	start [-init|...] [-beside=NAME] &NAME& WORD...
//	                         start any other program in the same way
//	await [NAME] REGEXP...   wait for a line of its log, after the last one
//	                         awaited; it is on stdout, its pid in $PID. With more
//	                         REGEXPs, for a line of each, in any order: stablehand
//	                         and gunicorn write each at its time. Those of the
//	                         first are on stdout and in $PID
//	signal SIGNAL [NAME]     send it a signal; after ABRT its log may end in
//	                         the traces of its goroutines
//	exits [-leaving] [NAME] CODE
//	                         wait for its end; nothing may be left behind,
//	                         unless it was killed
//	procs [NAME] [-draining] [COMM=N...]
//	                         list its namespace on stdout; see cmdProcs
//	ns WORD...               run a command in its namespace, as docker exec
//	ask [-exits=CODE] [-until=REGEXP] WORD...
//	                         run stablehand WORD... in the namespace of the
//	                         program called stablehand; it is to exit with that
//	                         code, by default 0. With -until again and again, until
//	                         stdout is so: for what is looked at beside the loop
//	story [NAME]             print its own lines of the log; see cmdStory
//	let NAME REGEXP          set $NAME to what REGEXP's group found in the last
//	                         stdout
//	replace FILE FROM        make FILE what FROM is, by renaming over it
//	get                      ask $URL, the answer on stdout
//	answers VERSION          ask $URL until it answers that
//	load ...                 put $URL under load; see cmdLoad
//	notify [-unread]         listen as a service manager does, at
//	                         $NOTIFY_SOCKET; await notify REGEXP has what is told.
//	                         With -unread it is full, and not read
//	notify -read             before that
//
// The words for hostile surroundings are in hostile_commands_test.go.
var commands = map[string]func(*testscript.TestScript, bool, []string){
	"stablehand": cmdStablehand,
	"start":      cmdStart,
	"await":      cmdAwait,
	"signal":     cmdSignal,
	"exits":      cmdExits,
	"procs":      cmdProcs,
	"ns":         cmdNs,
	"ask":        cmdAsk,
	"story":      cmdStory,
	"let":        cmdLet,
	"replace":    cmdReplace,
	"get":        cmdGet,
	"answers":    cmdAnswers,
	"load":       cmdLoad,
	"notify":     cmdNotify,
}

// keyPrograms and keyMode are where a script's values are kept.
type (
	keyPrograms struct{} // map[string]*program
	keyMode     struct{} // mode
)

const defaultName = "stablehand"

func cmdStablehand(ts *testscript.TestScript, neg bool, args []string) {
	refuse(ts, neg)
	bin, err := binary()
	ts.Check(err)
	p, args := newProgram(ts, args)
	p.words = append([]string{bin}, args...)
	launch(ts, p)
}

func cmdStart(ts *testscript.TestScript, neg bool, args []string) {
	refuse(ts, neg)
	p, args := newProgram(ts, args)
	if p.name == defaultName || len(args) == 0 {
		ts.Fatalf("usage: start &NAME& WORD...")
	}
	p.words = args
	launch(ts, p)
}

// newProgram makes a program of the options before its words, and returns those.
func newProgram(ts *testscript.TestScript, args []string) (*program, []string) {
	programs := ts.Value(keyPrograms{}).(map[string]*program)
	p := &program{name: defaultName, mode: ts.Value(keyMode{}).(mode)}
	for ; len(args) > 0; args = args[1:] {
		if m := mode(strings.TrimPrefix(args[0], "-")); slices.Contains(modes, m) {
			p.mode = m
			continue
		}
		if other, ok := strings.CutPrefix(args[0], "-beside="); ok {
			p.beside = programs[other]
			p.mode = p.beside.mode
			continue
		}
		if args[0] == "-piped" || args[0] == "-unread" {
			p.pipe, p.unread = new(pipe), args[0] == "-unread"
			continue
		}
		name, named := strings.CutPrefix(args[0], "&")
		if !named {
			break
		}
		p.name = strings.TrimSuffix(name, "&")
	}
	return p, args
}

// launch starts a program in place of an earlier one of its name.
func launch(ts *testscript.TestScript, p *program) {
	programs := ts.Value(keyPrograms{}).(map[string]*program)
	if old := programs[p.name]; old != nil {
		ts.Check(old.end())
	}
	p.log, p.memory = ts.MkAbs(p.name+".log"), *ts.Value(keyMemory{}).(**memoryCgroup)
	programs[p.name] = p
	if err := p.start(ts.MkAbs("."), environment(ts)); err != nil {
		fail(ts, p, "%v", err)
	}
}

// environment is the script's own, which testscript gives only to commands.
func environment(ts *testscript.TestScript) []string {
	file := filepath.Join(ts.Getenv("TMPDIR"), "environ")
	ts.Check(ts.Exec("sh", "-c", `env -0 >"$0"`, file))
	env := strings.Split(strings.TrimRight(ts.ReadFile(file), "\x00"), "\x00")
	ts.Check(os.Remove(file))
	return env
}

func cmdAwait(ts *testscript.TestScript, neg bool, args []string) {
	refuse(ts, neg)
	p, args := named(ts, args)
	if len(args) == 0 {
		ts.Fatalf("usage: await [NAME] REGEXP...")
	}
	var patterns []*regexp.Regexp
	for _, arg := range args {
		pattern, err := regexp.Compile(arg)
		ts.Check(err)
		patterns = append(patterns, pattern)
	}
	line, err := p.await(patterns...)
	if err != nil {
		fail(ts, p, "%v", err)
	}
	if pid := pidIn.FindStringSubmatch(line); pid != nil {
		ts.Setenv("PID", pid[1])
	}
	fmt.Fprint(ts.Stdout(), line)
}

var pidIn = regexp.MustCompile(` pid=(\d+)`)

func cmdSignal(ts *testscript.TestScript, neg bool, args []string) {
	refuse(ts, neg)
	if len(args) == 0 {
		ts.Fatalf("usage: signal SIGNAL [NAME]")
	}
	p, _ := named(ts, args[1:])
	sig := unix.SignalNum("SIG" + strings.TrimPrefix(args[0], "SIG"))
	if sig == 0 {
		ts.Fatalf("there is no signal %s", args[0])
	}
	if p.handle == nil {
		fail(ts, p, "%s has ended", p.name)
	}
	if err := p.handle.Signal(syscall.Signal(sig)); err != nil {
		fail(ts, p, "%s: %v", args[0], err)
	}
	p.aborted = p.aborted || syscall.Signal(sig) == unix.SIGABRT
}

func cmdExits(ts *testscript.TestScript, neg bool, args []string) {
	refuse(ts, neg)
	leaving := len(args) > 0 && args[0] == "-leaving"
	if leaving {
		args = args[1:]
	}
	p, args := named(ts, args)
	if len(args) != 1 {
		ts.Fatalf("usage: exits [NAME] CODE")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	select {
	case <-p.ended:
	case <-time.After(patience):
		fail(ts, p, "%s is still there after %s: %v", p.name, patience, tree(p.first))
	}
	if p.code != want {
		fail(ts, p, "%s exited with code %d, want %d", p.name, p.code, want)
	}
	if leaving || p.mode != notAsInit {
		return // for a PID 1 the kernel has ended the namespace, and everything in it
	}
	for _, left := range p.others() {
		if !left.zombie() {
			fail(ts, p, "%s left behind %v", p.name, p.others())
		}
	}
}

func cmdLet(ts *testscript.TestScript, neg bool, args []string) {
	refuse(ts, neg)
	if len(args) != 2 {
		ts.Fatalf("usage: let NAME REGEXP")
	}
	pattern, err := regexp.Compile("(?m)" + args[1])
	ts.Check(err)
	found := pattern.FindStringSubmatch(ts.ReadFile("stdout"))
	if len(found) != 2 {
		ts.Fatalf("the last stdout has no %s", args[1])
	}
	ts.Setenv(args[0], found[1])
}

func cmdReplace(ts *testscript.TestScript, neg bool, args []string) {
	refuse(ts, neg)
	if len(args) != 2 {
		ts.Fatalf("usage: replace FILE FROM")
	}
	file := ts.MkAbs(args[0])
	temp := filepath.Join(filepath.Dir(file), ".replacement")
	ts.Check(os.WriteFile(temp, []byte(ts.ReadFile(args[1])), 0o644))
	ts.Check(os.Rename(temp, file))
}

func cmdNs(ts *testscript.TestScript, neg bool, args []string) {
	p, args := named(ts, args)
	if p.pid == 0 || p.hasEnded() {
		fail(ts, p, "%s has ended", p.name)
	}
	line := append(enter(p.mode, p.pid, ts.MkAbs(".")), args...)
	err := ts.Exec(line[0], line[1:]...)
	if (err != nil) != neg {
		ts.Fatalf("%v: %v", args, err)
	}
}

func cmdAsk(ts *testscript.TestScript, neg bool, args []string) {
	refuse(ts, neg)
	want, until := 0, ""
	flags := flag.NewFlagSet("ask", flag.ContinueOnError)
	flags.IntVar(&want, "exits", 0, "")
	flags.StringVar(&until, "until", "", "")
	ts.Check(flags.Parse(args))
	args = flags.Args()
	if len(args) == 0 {
		ts.Fatalf("usage: ask [-exits=CODE] [-until=REGEXP] WORD...")
	}
	p, _ := named(ts, nil)
	pattern := regexp.MustCompile("(?m)" + until)
	for end := time.Now().Add(patience); ; time.Sleep(look) {
		p.ask(ts, want, args)
		if said := ts.ReadFile("stdout"); pattern.MatchString(said) {
			return
		} else if time.Now().After(end) {
			fail(ts, p, "stablehand %v: not %q in %s, but:\n%s", args, until, patience, said)
		}
	}
}

// ask asks once, and holds a status against what is published of it.
func (p *program) ask(ts *testscript.TestScript, want int, args []string) {
	if p.pid == 0 || p.hasEnded() {
		fail(ts, p, "%s has ended", p.name)
	}
	line := append(append(enter(p.mode, p.pid, ts.MkAbs(".")), "stablehand"), args...)
	err := ts.Exec(line[0], line[1:]...)
	code := 0
	if exit := new(exec.ExitError); errors.As(err, &exit) {
		code, err = exit.ExitCode(), nil
	}
	if err != nil || code != want {
		fail(ts, p, "stablehand %v: exit code %d, want %d: %v", args, code, want, err)
	}
	if code == 0 && slices.Equal(args, []string{"status", "--json"}) {
		isAsPublished(ts, ts.ReadFile("stdout"))
	}
}

// named takes a program's name off the arguments, if there is one.
func named(ts *testscript.TestScript, args []string) (*program, []string) {
	programs := ts.Value(keyPrograms{}).(map[string]*program)
	if len(args) > 0 && programs[args[0]] != nil {
		return programs[args[0]], args[1:]
	}
	if programs[defaultName] == nil {
		ts.Fatalf("no program was started, or none of that name")
	}
	return programs[defaultName], args
}

// fail fails the script and shows the program's log.
func fail(ts *testscript.TestScript, p *program, format string, args ...any) {
	ts.Logf("[%s]\n%s", p.log, p.logged())
	ts.Fatalf(format, args...)
}

func refuse(ts *testscript.TestScript, neg bool) {
	if neg {
		ts.Fatalf("this command cannot be negated")
	}
}

// panicked says whether a log has the traces of a panic. Those of the program to
// which the script has sent ABRT are what it has asked for.
func (p *program) panicked(log string) bool {
	if p.aborted {
		log, _, _ = strings.Cut(log, "\nSIGABRT: abort")
	}
	return strings.Contains(log, "\ngoroutine ")
}

// endAll ends every program of a script and says what was wrong with any.
func endAll(programs map[string]*program) error {
	var errs []error
	for _, p := range programs {
		errs = append(errs, p.end())
		if log := p.logged(); strings.Contains(log, "DATA RACE") || p.panicked(log) {
			errs = append(errs, fmt.Errorf("%s raced or panicked:\n%s", p.name, log))
		}
	}
	return errors.Join(errs...)
}
