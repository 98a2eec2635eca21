package docker

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// A dockerd on a busy machine with two cores answers after 3 s.
	startTimeout = time.Minute

	// How long it may take to end its containers and itself.
	stopTimeout = time.Minute
)

// daemon is a dockerd of the tests' own, in a network of their own.
type daemon struct {
	dir     string   // for its socket and its state
	lock    *os.File // held while it runs: one dockerd for one cache
	network *network
	ended   chan struct{}
	cmd     *exec.Cmd
}

func (d *daemon) socket() string { return filepath.Join(d.dir, "socket") }

// startDaemon starts a dockerd, and returns when it answers. It ends with the
// process that started it.
func startDaemon(cache string) (*daemon, error) {
	if os.Getuid() != 0 {
		return nil, errors.New("only root can start an engine; DOCKER_HOST may name one that runs, such as unix:///var/run/docker.sock")
	}
	if _, err := exec.LookPath("dockerd"); err != nil {
		return nil, errors.New("dockerd is missing (Debian: apt-get install docker.io)")
	}
	lock, err := lockDir(cache)
	if err != nil {
		return nil, err
	}
	network, err := newNetwork()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("for an engine there is no network: %w", err), lock.Close())
	}
	dir, err := os.MkdirTemp("", "dockerd-") // a socket's path must be short
	if err != nil {
		return nil, errors.Join(err, network.close(), lock.Close())
	}
	d := &daemon{dir: dir, lock: lock, network: network, ended: make(chan struct{})}
	err = d.start(cache)
	if err == nil {
		err = d.answers()
	}
	if err != nil {
		return nil, errors.Join(err, d.stop())
	}
	return d, nil
}

// lockDir makes a directory and waits until nobody else uses it.
func lockDir(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	lock, err := os.Create(filepath.Join(dir, "lock"))
	if err != nil {
		return nil, err
	}
	return lock, unix.Flock(int(lock.Fd()), unix.LOCK_EX)
}

func (d *daemon) start(cache string) error {
	log, err := os.Create(d.log())
	if err != nil {
		return err
	}
	defer log.Close()
	d.cmd = exec.Command("dockerd",
		"--data-root="+filepath.Join(cache, "data"), "--exec-root="+filepath.Join(d.dir, "exec"),
		"--pidfile="+filepath.Join(d.dir, "pid"), "--host=unix://"+d.socket(),
		"--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false")
	d.cmd.Stdout, d.cmd.Stderr = log, log
	d.cmd.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGTERM, Setpgid: true}
	started := make(chan error)
	go func() {
		// The signal comes when the thread ends that started the process.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(d.ended)
		err := d.network.within(d.cmd.Start)
		started <- err
		if err == nil {
			_ = d.cmd.Wait() // its log says why it has ended
		}
	}()
	return <-started
}

func (d *daemon) log() string { return filepath.Join(d.dir, "log") }

// answers returns when the daemon does, or when it has ended.
func (d *daemon) answers() error {
	engine := &Engine{host: "unix://" + d.socket()}
	for deadline := time.Now().Add(startTimeout); !engine.answers(); {
		select {
		case <-d.ended:
			return fmt.Errorf("dockerd does not run here: %s", d.lastWords())
		case <-time.After(50 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("dockerd did not answer within %s: %s", startTimeout, d.lastWords())
		}
	}
	return nil
}

func (d *daemon) lastWords() string {
	text, _ := os.ReadFile(d.log())
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return lines[len(lines)-1]
}

// stop ends the daemon and all its containers.
func (d *daemon) stop() error {
	defer d.lock.Close()
	if d.cmd != nil && d.cmd.Process != nil {
		d.cmd.Process.Signal(unix.SIGTERM)
		select {
		case <-d.ended:
		case <-time.After(stopTimeout):
			d.cmd.Process.Kill()
			<-d.ended
			return fmt.Errorf("dockerd did not end within %s; its log is %s", stopTimeout, d.log())
		}
	}
	// It leaves the network namespace of --network=host mounted.
	mounts, err := filepath.Glob(filepath.Join(d.dir, "exec", "netns", "*"))
	for _, mount := range mounts {
		if no := unix.Unmount(mount, unix.MNT_DETACH); no != nil && !errors.Is(no, unix.EINVAL) {
			err = errors.Join(err, fmt.Errorf("unmounting %s: %w", mount, no))
		}
	}
	return errors.Join(err, d.network.close(), os.RemoveAll(d.dir))
}
