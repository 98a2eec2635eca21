package gunicorn

import (
	"errors"
	"fmt"
	"os"
	"path"

	"github.com/stablehand/stablehand/internal/proc"
)

// Hindrance is why the master cannot be handed over, however good what it loads
// is: something between it and us will not let a successor live. It is nil where
// nothing is in the way, as far as can be seen.
//
// tini, catatonit and shells end when the first master does, which harms nobody.
func (m *Master) Hindrance() error {
	for pid := m.PID(); ; {
		info, err := proc.Stat(pid)
		if err != nil || info.Parent <= 1 || info.Parent == os.Getpid() || info.Parent == os.Getppid() {
			return nil
		}
		line, _ := proc.Cmdline(info.Parent) // what cannot be read is not known to be in the way
		if err := hindrance(line, info); err != nil {
			return err
		}
		pid = info.Parent
	}
}

// hindrance says whether a process that runs line is in the way, by what it does
// when its child, below which the master is, has gone.
func hindrance(line []string, child proc.Info) error {
	if len(line) == 0 {
		return nil
	}
	switch name := path.Base(line[0]); {
	case name == "dumb-init" && child.Group == child.PID:
		// It has made a session for its child. With --single-child, or DUMB_INIT_SETSID=0,
		// it has not, and signals nobody else.
		return advised{errors.New("dumb-init stands between stablehand and gunicorn, and ends its whole session, a successor too, when the first master goes"),
			"start gunicorn without it, since stablehand is the init, or by dumb-init --single-child"}
	case name == "s6-supervise", name == "runsv":
		return advised{fmt.Errorf("%s stands between stablehand and gunicorn, and starts another gunicorn when the first master goes", name),
			"have it run stablehand, and stablehand gunicorn"}
	}
	return nil
}

// Doubt is why handing the master over may fail; nil where nothing speaks for it.
func (m *Master) Doubt() error {
	line, _ := proc.Cmdline(m.PID())
	if moduleAt(line, "gunicorn") == 0 {
		return nil
	}
	return advised{errors.New("started by -m gunicorn it starts its successor with its own folder first among Python's paths, where http and others are not Python's own"),
		"start it by its script, gunicorn, or by -m gunicorn.app.wsgiapp"}
}
