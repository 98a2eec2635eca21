package main

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// A way is one of reloading a site: how one is started that can be reloaded so, and how it
// is told that there is a new version.
type way struct {
	name string // as the tables have it
	key  string // as -ways has it
	env  string // the virtual environment, below -envs

	// words start it. In them and in vars $HOST, $PORT and $WORKERS stand for what
	// they say.
	words string
	vars  []string

	// first says that it is PID 1 itself, as in a container; below another that is a
	// shell, where nobody else does it.
	first bool

	// watches says that it sees by itself that the file has changed, and is sent no HUP.
	watches bool
}

// gunicornWords are the same in each way that has gunicorn serve.
const gunicornWords = "gunicorn --workers=$WORKERS --worker-class=uvicorn_worker.UvicornWorker --bind=$HOST:$PORT app:asgi"

// ways are those that are compared. The server is uvicorn in all but granian's: as
// gunicorn's worker class, or by itself.
var ways = []way{
	{key: "hup", name: "gunicorn, `kill -HUP`", env: "servers", words: gunicornWords},
	{key: "wrapper", name: "shell wrapper: USR2, 30 s, TERM", env: "servers", words: "sh wrapper.sh " + gunicornWords},
	{key: "rainbow-saddle", name: "rainbow-saddle 0.4.0", env: "rainbow-saddle", words: "rainbow-saddle " + gunicornWords},
	{key: "unicornherder", name: "unicornherder 0.2.1", env: "unicornherder",
		words: "unicornherder -- " + strings.TrimPrefix(gunicornWords, "gunicorn ")},
	{key: "uvicorn", name: "`uvicorn --workers`, HUP", env: "servers", words: uvicornWords},
	{key: "uvicorn-patient", name: "uvicorn, `--timeout-worker-healthcheck=120`", env: "servers", words: uvicornWords + " --timeout-worker-healthcheck=120"},
	{key: "granian", name: "granian, HUP", env: "servers", words: granianWords},
	{key: "granian-patient", name: "granian, `--respawn-interval=8`", env: "servers", words: granianWords + " --respawn-interval=8"},
	{key: "usr2", name: "**stablehand**, by USR2", env: "servers", words: "stablehand " + gunicornWords,
		vars: []string{"STABLEHAND_WATCH=version"}, first: true, watches: true},
	{key: "bind", name: "**stablehand**, BIND", env: "servers", words: "stablehand " + strings.Replace(gunicornWords, " --bind=$HOST:$PORT", "", 1),
		vars: []string{"STABLEHAND_WATCH=version", "STABLEHAND_BIND=$HOST:$PORT"}, first: true, watches: true},
}

// none is no way of reloading. What its clients see is what the machine does to a site
// that is let be, when another one starts beside it: gunicorn with the same application.
var none = way{key: "none", name: "none: another gunicorn starts beside it", env: "servers", words: "stablehand " + gunicornWords, first: true}

// beside is that other one.
var beside = way{key: "beside", env: "servers", words: gunicornWords}

const (
	uvicornWords = "uvicorn --workers=$WORKERS --host=$HOST --port=$PORT --no-access-log app:asgi"
	granianWords = "granian --interface=asgi --workers=$WORKERS --host=$HOST --port=$PORT app:asgi"
)

// tell tells a site that its version has changed, if it has to be told.
func (w way) tell(s *site) error {
	if w.watches {
		return nil
	}
	if err := unix.Kill(s.manager, unix.SIGHUP); err != nil {
		return fmt.Errorf("send HUP to %s: %w", w.key, err)
	}
	return nil
}
