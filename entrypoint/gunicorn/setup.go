package gunicorn

import (
	"context"
	"fmt"
	"path"
	"slices"

	"github.com/stablehand/stablehand/internal/pattern"
	"github.com/stablehand/stablehand/internal/proc"
	"github.com/stablehand/stablehand/internal/small"
)

// setup is what the master was told, by its words and by a configuration file that
// says so in so many words: of the words nothing is known where setproctitle has
// written over them, and of the file nothing that has to be computed.
func (m *Master) setup(ctx context.Context) Words {
	said := m.words()
	if !said.Named {
		return Words{}
	}
	config := m.configuration(ctx, said.Config)
	said.Reload = said.Reload || turnsOn(config, "reload")
	said.Preload = said.Preload || turnsOn(config, "preload_app")
	return said
}

// words are the master's own, with its variable's. Nothing is named where they cannot be
// read.
func (m *Master) words() Words {
	argv, err := proc.Cmdline(m.PID())
	if err != nil {
		return Words{}
	}
	env, _ := proc.Environ(m.PID(), cmdArgs) // empty where we may not look
	return ReadWords(argv, env)
}

// OnePidfile is why no other generation can be begun beside the master: its
// configuration file, as it is now, names a pidfile in so many words, and the master is
// in it. gunicorn ends where it finds another one there that lives. Since the master
// takes us for its own old master, it has the name that a successor has.
func (m *Master) OnePidfile(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	said := m.words()
	if !said.Named || m.Dead() {
		return nil
	}
	file := textOf(lastWord(m.configuration(limited, said.Config), "pidfile"))
	if file == "" {
		return nil
	}
	if !path.IsAbs(file) {
		dir, _ := proc.Dir(m.PID())
		file = path.Join(dir, file)
	}
	if pid, err := readPid(second(file)); err != nil || pid != m.PID() {
		return nil
	}
	return advised{fmt.Errorf("gunicorn's configuration names one pidfile for all generations, and process %d has it: %s", m.PID(), second(file)),
		"take pidfile out of gunicorn's configuration: with STABLEHAND_BIND there are two generations at times, each with a pid of its own"}
}

// configuration is the text of the file that the master has read, as far as its words
// and its directory tell which that is; empty where it is not known.
func (m *Master) configuration(ctx context.Context, file string) string {
	if file == "" {
		file = "gunicorn.conf.py"
	}
	if path.IsAbs(file) {
		return readConfig(ctx, file)
	}
	for _, dir := range beganIn(ctx, m.PID()) {
		if !path.IsAbs(dir) {
			continue
		}
		if text := readConfig(ctx, path.Join(dir, file)); text != "" {
			return text
		}
	}
	return ""
}

// configLimit is how much of a configuration is read, in bytes.
const configLimit = 1 << 20

// readConfig reads a file. What cannot be read before ctx ends is empty.
func readConfig(ctx context.Context, file string) string {
	if _, err := lookAt(ctx, file); err != nil {
		return "" // it hangs, and no more than one is to wait for it
	}
	text, _, _ := small.Read(ctx, file, configLimit, 0)
	return string(text)
}

// setting is one at the top level of a configuration file.
var setting = pattern.New(`(?m)^(\w+)[ \t]*=[ \t]*(.*?)[ \t\r]*(#.*)?$`)

// turnsOn says whether the last word of a configuration on a setting is True.
func turnsOn(config, name string) bool { return lastWord(config, name) == "True" }

// lastWord is the last that a configuration says of a setting; empty if nothing.
func lastWord(config, name string) (value string) {
	for _, s := range setting().FindAllStringSubmatch(config, -1) {
		if s[1] == name {
			value = s[2]
		}
	}
	return value
}

// text is what Python has between quotes, where nothing in it is more than it seems.
var text = pattern.New(`^(?:"([^"\\]*)"|'([^'\\]*)')$`)

// textOf is the text that a setting is given; empty where that is no plain text.
func textOf(value string) string {
	found := text().FindStringSubmatch(value)
	if found == nil {
		return ""
	}
	return found[1] + found[2]
}

// reloaderMask is what InotifyReloader of gunicorn's reloader.py watches for:
// MODIFY, MOVED_FROM, MOVED_TO, CREATE, DELETE, DELETE_SELF and MOVE_SELF.
const reloaderMask = 0xfc2

// watchesAsReloader says whether a worker watches directories as only the inotify
// engine of gunicorn's own reloader does. The other engine is a thread that sleeps,
// as those of many applications are.
func (m *Master) watchesAsReloader() bool {
	workers, _ := proc.Children(m.PID()) // none where they cannot be listed
	return slices.ContainsFunc(workers, func(worker int) bool {
		masks, _ := proc.InotifyMasks(worker) // none where we may not look
		return slices.Contains(masks, reloaderMask)
	})
}
