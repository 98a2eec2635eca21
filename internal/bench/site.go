package main

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/stablehand/stablehand/internal/proc"
)

//go:embed site
var siteFiles embed.FS

const (
	host = "127.0.0.1"

	// look is the pause between two looks at something that sends no event.
	look = 5 * time.Millisecond

	// quiet is where sites are laid: whatever is made or removed beside a directory with
	// a watched file wakes a stablehand up, and others do so in /tmp all the time.
	quiet = "/var/tmp"

	// startPatience is how long a site may take to start, beside what its application
	// takes to load.
	startPatience = time.Minute
)

// site is what a way has started, in a PID namespace of its own: whatever it leaves
// running is found there, and ends with it.
type site struct {
	way     way
	app     application
	dir     string
	port    int
	outside *exec.Cmd // unshare
	gone    chan struct{}
	first   int // the namespace's PID 1, as we see it
	manager int // what the way has started: the process that is told to reload
}

// startSite starts a site and returns when all its workers have loaded the application.
func startSite(o options, w way, app application) (s *site, err error) {
	env := absolute(filepath.Join(o.envs, w.env))
	if reason := notBuilt(env); reason != "" {
		return nil, errors.New(reason)
	}
	s = &site{way: w, app: app, gone: make(chan struct{})}
	defer func() {
		if err != nil {
			err = fmt.Errorf("%w%s", err, s.lastWords())
			s.end()
		}
	}()
	if err := s.lay(); err != nil {
		return s, err
	}
	if err := s.start(o, env); err != nil {
		return s, err
	}
	if err := s.findManager(); err != nil {
		return s, err
	}
	return s, s.awaitLoaded(o.workers)
}

// notBuilt says why a virtual environment is not there.
func notBuilt(env string) string {
	if _, err := os.Stat(filepath.Join(env, "complete")); err == nil {
		return ""
	}
	log, err := os.ReadFile(filepath.Join(env, "pip.log"))
	if err != nil {
		return env + " is not built"
	}
	for _, mark := range []string{"fatal: ", "ERROR: ", ""} { // git's own, which says more than pip
		for line := range strings.Lines(string(log)) {
			if why, ok := strings.CutPrefix(strings.TrimSpace(line), mark); ok {
				return "not installed: " + why
			}
		}
	}
	return "not installed"
}

// lay makes its directory, with the application in it.
func (s *site) lay() (err error) {
	if s.dir, err = os.MkdirTemp(quiet, "bench-"); err != nil {
		return err
	}
	files, err := fs.Sub(siteFiles, "site")
	if err != nil {
		return err
	}
	if err := os.CopyFS(s.dir, files); err != nil {
		return err
	}
	if err := os.Mkdir(filepath.Join(s.dir, "loaded"), 0o755); err != nil {
		return err
	}
	if s.port, err = freePort(); err != nil {
		return err
	}
	return s.write("v1")
}

// write writes a version, as editors do.
func (s *site) write(version string) error {
	next := filepath.Join(s.dir, "version.next")
	if err := os.WriteFile(next, []byte(version), 0o644); err != nil {
		return err
	}
	return os.Rename(next, filepath.Join(s.dir, "version"))
}

func (s *site) start(o options, env string) error {
	fill := strings.NewReplacer("$HOST", host, "$PORT", fmt.Sprint(s.port), "$WORKERS", fmt.Sprint(o.workers)).Replace
	words := strings.Fields(fill(s.way.words))
	if !s.way.first {
		// It reaps, as dash and bash do, and says how the way has ended.
		words = append([]string{"sh", "-c", `"$@" & wait $!; echo "ended with code $?"; while :; do sleep 86400 & wait $!; done`, "sh"}, words...)
	}
	log, err := os.Create(s.log())
	if err != nil {
		return err
	}
	defer log.Close()
	line := append(namespace(), words...)
	s.outside = exec.Command(line[0], line[1:]...)
	s.outside.Dir, s.outside.Stdout, s.outside.Stderr = s.dir, log, log
	s.outside.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1", fmt.Sprintf("LOAD=%g", s.app.load.Seconds()), "LOAD_BY="+s.app.by,
		"STABLEHAND_CONTROL="+s.control(),
		fmt.Sprintf("PATH=%s:%s:%s", filepath.Dir(o.stablehand), filepath.Join(env, "bin"), os.Getenv("PATH")))
	for _, v := range s.way.vars {
		s.outside.Env = append(s.outside.Env, fill(v))
	}
	s.outside.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.outside.Start(); err != nil {
		return err
	}
	go func() {
		_ = s.outside.Wait() // killed, mostly
		close(s.gone)
	}()
	return nil
}

// namespace is what starts words as PID 1 of a namespace of its own, which ends with it.
func namespace() []string {
	line := []string{"unshare", "--pid", "--fork", "--kill-child", "--mount-proc"}
	if os.Getuid() != 0 {
		line = append(line, "--user", "--map-root-user")
	}
	return append(line, "--")
}

func (s *site) log() string     { return filepath.Join(s.dir, "log") }
func (s *site) control() string { return filepath.Join(s.dir, "control") }

// findManager waits until the way's own process is there.
func (s *site) findManager() error {
	child := func(parent int) (pid int, err error) {
		err = s.await("a process", func() bool {
			children, err := proc.Children(parent)
			if err != nil || len(children) == 0 {
				return false
			}
			pid = children[0]
			return true
		})
		return pid, err
	}
	var err error
	if s.first, err = child(s.outside.Process.Pid); err != nil {
		return err
	}
	if s.manager = s.first; !s.way.first {
		s.manager, err = child(s.first)
	}
	return err
}

// awaitLoaded waits until so many processes have loaded the application, and answer.
func (s *site) awaitLoaded(workers int) error {
	return s.await("answers of all workers", func() bool {
		loaded, err := os.ReadDir(filepath.Join(s.dir, "loaded"))
		return err == nil && len(loaded) >= workers && s.answers()
	})
}

// answers says whether somebody takes connections.
func (s *site) answers() bool {
	conn, err := net.DialTimeout("tcp", s.address(), time.Second)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

func (s *site) address() string { return fmt.Sprintf("%s:%d", host, s.port) }

// await waits for something, while the way runs.
func (s *site) await(what string, there func() bool) error {
	for end := time.Now().Add(startPatience + 8*s.app.load); time.Now().Before(end); {
		if there() {
			return nil
		}
		select {
		case <-s.gone:
			return errors.New("it ended before there was " + what)
		case <-time.After(look):
		}
		if text, ended := s.ended(); ended {
			return fmt.Errorf("it %s before there was %s", text, what)
		}
	}
	return errors.New("there never was " + what)
}

// ended is how the way has ended, as its shell or its end tells.
func (s *site) ended() (how string, ended bool) {
	select {
	case <-s.gone:
		return fmt.Sprintf("ended with code %d", s.outside.ProcessState.ExitCode()), true
	default:
	}
	if s.way.first {
		return "", false
	}
	for line := range strings.Lines(s.logged()) {
		if strings.HasPrefix(line, "ended with code ") {
			return strings.TrimSpace(line), true
		}
	}
	return "", false
}

func (s *site) logged() string {
	text, err := os.ReadFile(s.log())
	if err != nil {
		return ""
	}
	return string(text)
}

// lastWords is the last line of the log that does not tell of the end itself.
func (s *site) lastWords() string {
	lines := slices.DeleteFunc(strings.Split(s.logged(), "\n"), func(line string) bool {
		return strings.TrimSpace(line) == "" || strings.HasPrefix(line, "ended with code ")
	})
	if len(lines) == 0 {
		return ""
	}
	return ": " + strings.TrimSpace(lines[len(lines)-1])
}

// end ends all that the way has started.
func (s *site) end() {
	if s.outside != nil && s.outside.Process != nil {
		s.outside.Process.Kill()
		<-s.gone
		for end := time.Now().Add(startPatience); s.first != 0 && proc.Alive(s.first) && time.Now().Before(end); {
			time.Sleep(look)
		}
	}
	if s.dir != "" {
		os.RemoveAll(s.dir)
	}
}

// processes are the site's, without a shell that is there for us.
func (s *site) processes() []proc.Info {
	all, _ := proc.Tree(s.first) // what could be listed: it is looked at again and again
	return slices.DeleteFunc(all, func(p proc.Info) bool { return p.PID == s.first && !s.way.first })
}

// memory is what all its processes take, each shared page counted once.
func (s *site) memory() (bytes int64) {
	for _, p := range s.processes() {
		if size, _, err := proc.Share(p.PID); err == nil {
			bytes += size
		}
	}
	return bytes
}

func freePort() (int, error) {
	listener, err := net.Listen("tcp", host+":0")
	if err != nil {
		return 0, err
	}
	return listener.Addr().(*net.TCPAddr).Port, listener.Close()
}
