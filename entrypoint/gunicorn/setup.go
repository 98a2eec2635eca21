package gunicorn

import (
	"context"
	"path"
	"regexp"
	"slices"

	"github.com/stablehand/stablehand/internal/proc"
	"github.com/stablehand/stablehand/internal/small"
)

// setup is what the master was told, by its words and by a configuration file that
// says so in so many words: of the words nothing is known where setproctitle has
// written over them, and of the file nothing that has to be computed.
func (m *Master) setup(ctx context.Context) Words {
	argv, err := proc.Cmdline(m.PID())
	if err != nil {
		return Words{}
	}
	env, _ := proc.Environ(m.PID(), cmdArgs) // empty where we may not look
	said := ReadWords(argv, env)
	if !said.Named {
		return Words{}
	}
	config := m.configuration(ctx, said.Config)
	said.Reload = said.Reload || turnsOn(config, "reload")
	said.Preload = said.Preload || turnsOn(config, "preload_app")
	return said
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
var setting = regexp.MustCompile(`(?m)^(\w+)[ \t]*=[ \t]*(.*?)[ \t\r]*(#.*)?$`)

// turnsOn says whether the last word of a configuration on a setting is True.
func turnsOn(config, name string) bool {
	value := ""
	for _, s := range setting.FindAllStringSubmatch(config, -1) {
		if s[1] == name {
			value = s[2]
		}
	}
	return value == "True"
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
