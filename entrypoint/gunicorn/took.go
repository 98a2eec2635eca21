package gunicorn

import (
	"errors"
	"io/fs"
	"slices"

	"github.com/stablehand/stablehand/internal/proc"
)

// errNotTaken is the error of a gunicorn that has other sockets than it was given.
var errNotTaken error = advised{errors.New("gunicorn has not taken the sockets that BIND has opened"),
	"leave --reuse-port out, and see that what starts gunicorn hands on GUNICORN_PID, GUNICORN_FD and all open descriptors: su, sudo and env -i do not"}

// Took makes sure that the master has taken the sockets that were given to it: gunicorn
// makes a descriptor of its own of each, and closes the one that it came by. One that
// may not be looked at has.
func (m *Master) Took() error {
	descriptors, err := proc.Descriptors(m.PID())
	if err != nil {
		if errors.Is(err, fs.ErrPermission) {
			return nil
		}
		return err
	}
	for i, socket := range m.sockets {
		took := func(d proc.Descriptor) bool { return d.Target == socket && d.Number() != FirstSocket+i }
		if !slices.ContainsFunc(descriptors, took) {
			return errNotTaken
		}
	}
	return nil
}

// Holds counts those of some sockets, as in proc.Descriptor, that the master's
// generation has open, each once for each process. Of what may not be looked at nothing
// is known.
func (m *Master) Holds(sockets map[string]bool) (n int, err error) {
	if len(sockets) == 0 {
		return 0, nil
	}
	list, err := m.note()
	for _, info := range list {
		descriptors, err2 := proc.Descriptors(info.PID)
		err = errors.Join(err, unless(err2))
		for _, d := range descriptors {
			if sockets[d.Target] {
				n++
			}
		}
	}
	return n, err
}
