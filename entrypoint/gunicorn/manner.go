package gunicorn

import (
	"os"
	"slices"

	"github.com/stablehand/stablehand/internal/proc"
)

// Logs lists the files in which gunicorn's lines may stand, its error log before
// others, as far as is known: those that the master has open for appending. What
// it writes to our own output is not among them.
func (m *Master) Logs() []string {
	if logs := m.logs.Load(); logs != nil {
		return *logs
	}
	return nil
}

// learnLogs learns what Logs is to tell. A master that has ended, or may not be
// looked at, leaves it as it was.
func (m *Master) learnLogs() {
	logs, err := proc.Appended(m.PID())
	ours, _ := proc.Appended(os.Getpid()) // where they cannot be listed, they are named as well
	if err != nil {
		return
	}
	logs = slices.DeleteFunc(logs, func(file string) bool { return slices.Contains(ours, file) })
	if len(logs) > 0 {
		m.logs.Store(&logs)
	}
}

// Preloads says whether the application is known to be loaded by the master, once
// for all its workers: what is on disk is then nothing to a worker that is
// replaced. It is known of the words, and of a configuration file that says so in so
// many words, and not before Ready.
func (m *Master) Preloads() bool { return m.preloads.Load() }
