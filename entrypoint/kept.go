package entrypoint

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"log/slog"
	"os"
	"path"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stablehand/stablehand/entrypoint/gunicorn"
	"github.com/stablehand/stablehand/entrypoint/life"
	"github.com/stablehand/stablehand/entrypoint/watch"
	"github.com/stablehand/stablehand/internal/deaf"
	"github.com/stablehand/stablehand/internal/proc"
	"github.com/stablehand/stablehand/internal/small"
	"github.com/stablehand/stablehand/reaper"
)

// kept is what a stablehand leaves in a file beside gunicorn's pidfile for the
// next one, should it be killed: which process serves, and what it has read.
// It names that process for ever, and so a file that is old says nothing wrong.
// There are digests in it, and no secrets. While it is looked after by one that
// lives, nobody else takes it over.
type kept struct {
	process
	By      process `json:"by"`      // the stablehand that looks after it
	Command string  `json:"command"` // see gunicorn.Identity.Digest
	Watch   string  `json:"watch"`   // stands for what is watched: other paths have another content
	Content string  `json:"content"` // of that; empty if it is not known
}

// process is one for ever, as long as the machine runs.
type process struct {
	PID     int    `json:"pid"`
	Started uint64 `json:"started"` // see proc.Info
}

// lives says whether it does.
func (p process) lives() bool {
	info, err := proc.Stat(p.PID)
	return err == nil && info.Started == p.Started && info.Alive()
}

// keptName comes after the pidfile's name.
const keptName = ".stablehand"

// pidfiles are the paths that each generation writes because of --pid, as
// [watch.Options.LeaveOut] takes them, with those of the files that are renamed over
// them: the pidfile, that of a successor, and what is kept. gunicorn's temporary file
// is of Python's mkstemp (gunicorn/pidfile.py), ours of os.CreateTemp.
func (c Command) pidfiles() []string {
	if c.Pidfile == "" {
		return nil
	}
	dir, name := path.Split(c.Pidfile)
	name = watch.Literal(name)
	kept := name + keptName
	return []string{dir + name, dir + name + ".2", dir + "tmp" + strings.Repeat("[a-z0-9_]", 8), dir + kept, dir + kept + ".*"}
}

// readKept reads what was kept, for as long as a file system may take. What is
// not there, or not ours alone to write, says nothing.
func readKept(pidfile string) (k kept) {
	const most = 4096
	ctx, cancel := context.WithTimeout(context.Background(), keptLimit)
	defer cancel()
	b, info, err := small.Read(ctx, pidfile+keptName, most, unix.O_NOFOLLOW)
	if err != nil || int(info.Sys().(*syscall.Stat_t).Uid) != os.Geteuid() || info.Mode().Perm()&0o022 != 0 {
		return kept{}
	}
	if json.Unmarshal(b, &k) != nil {
		return kept{}
	}
	return k
}

// keptLimit is how long a file system may take.
const keptLimit = 2 * time.Second

// of is the process that was kept, if that was by the same command.
func (k kept) of(command string) gunicorn.Kept {
	if k.Command != command {
		return gunicorn.Kept{}
	}
	return gunicorn.Kept{PID: k.PID, Started: k.Started}
}

// content is what the process has read of what is watched; zero if nobody knows.
func (k kept) content(watch string) (c life.Content) {
	b, err := hex.DecodeString(k.Content)
	if err == nil && len(b) == len(c) && k.Watch == watch {
		copy(c[:], b)
	}
	return c
}

// watchDigest stands for what is watched, whatever is in it.
func watchDigest(c Config) string {
	sum := sha256.Sum256([]byte(strings.Join(c.Watch, "\x00") + "\x00\x00" + strings.Join(c.WatchIgnore, "\x00")))
	return hex.EncodeToString(sum[:])
}

// keeper keeps what the next stablehand is to know. Who tells it never waits: only
// the newest is written, by a goroutine of its own.
type keeper struct {
	path           string
	by             process
	command, watch string
	log            *slog.Logger
	newest         chan serves
	over           chan struct{}
}

// newKeeper is nil where there will be no next one: without a pidfile nothing is
// adopted, and with PID 1 all processes end.
func newKeeper(c Config, command Command, log *slog.Logger) *keeper {
	if command.Pidfile == "" || os.Getpid() == 1 {
		return nil
	}
	self, _ := proc.Stat(os.Getpid()) // else nobody is kept from anything
	k := &keeper{path: command.Pidfile + keptName, by: process{self.PID, self.Started},
		command: command.identity().Digest(), watch: watchDigest(c), log: log,
		newest: make(chan serves, 1), over: make(chan struct{})}
	go k.run()
	return k
}

// serves is what a keeper is told: which process serves, and what it has read.
type serves struct {
	process *reaper.Process
	content life.Content
}

// keep notes which process serves, and what it has read.
func (k *keeper) keep(p *reaper.Process, content life.Content) {
	if k == nil {
		return
	}
	select {
	case <-k.newest: // not written yet, and not to be any more
	default:
	}
	k.newest <- serves{p, content}
}

func (k *keeper) run() {
	defer close(k.over)
	said := false
	for now := range k.newest {
		err := k.write(now)
		if err != nil && !said {
			k.log.Warn("cannot keep what serves for a stablehand that comes after this one: if this one is killed, the next hands over once more than it need",
				"reason", strings.ReplaceAll(err.Error(), "\n", "; "))
		}
		said = err != nil
	}
	deaf.Call(func() { _ = os.Remove(k.path) }) // one that stays names a process that has gone
}

// write writes what was told, unless the process has ended: its pid may be another's.
func (k *keeper) write(now serves) error {
	info, err := proc.Stat(now.process.PID())
	if err != nil || now.process.Signal(0) != nil {
		return nil
	}
	to := kept{process: process{info.PID, info.Started}, By: k.by, Command: k.command, Watch: k.watch}
	if now.content != (life.Content{}) {
		to.Content = hex.EncodeToString(now.content[:])
	}
	b, err := json.Marshal(to)
	if err == nil {
		deaf.Call(func() { err = small.Write(k.path, append(b, '\n')) })
	}
	return err
}

// close removes what was kept: nothing is left to be adopted. It waits as long as
// a file system may take.
func (k *keeper) close() {
	if k == nil {
		return
	}
	close(k.newest)
	select {
	case <-k.over:
	case <-time.After(keptLimit):
	}
}
