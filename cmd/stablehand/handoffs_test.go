package main_test

import "strings"

// way is one way of running gunicorn.
type way struct {
	env       string // virtual environment
	class     string // worker class
	how       string // what else is special, for the test's name
	args      string // more words for gunicorn
	vars      map[string]string
	module    string // that not every version of the class's package has
	otherUser bool   // workers run as another user
	bind      bool   // stablehand opens the sockets

	// floor is how many requests clients may lose in the two handoffs of one
	// script, where a worker class loses some whatever stablehand does: told to
	// go, it closes connections whose request it has not read. Default 0.
	// uvicorn loses 2 a handoff, by hand as under stablehand (BenchmarkWays),
	// and was seen to lose up to 13 in two while other tests ran beside it.
	floor string
}

// handoffs are the ways in which a handoff is promised to work.
var handoffs = []way{
	{env: "gunicorn-20.1.0"},
	{env: "gunicorn-21.2.0"},
	{env: "gunicorn-22.0.0"},
	{env: "gunicorn-23.0.0"},
	{env: "gunicorn-25.3.0"},
	{env: "gunicorn-26.1.0"},
	{env: "gunicorn-27.0.1"},

	{env: "workers", class: "gthread", args: "--threads=4"},
	{env: "workers", class: "gevent"},
	{env: "workers", class: "tornado"},
	{env: "workers", class: "asgi"},
	{env: "workers", class: "uvicorn_worker.UvicornWorker", floor: "20"},
	{env: "workers", class: "uvicorn.workers.UvicornWorker", module: "uvicorn.workers", floor: "20"},

	{env: newest, how: "preload", args: "--preload"},
	{env: newest, how: "unix-socket", args: "--bind=unix:$WORK/socket", vars: map[string]string{"SOCKET": "$WORK/socket"}},
	{env: newest, how: "user", args: "--user=65534 --group=65534", otherUser: true},
	{env: newest, how: "more-workers", vars: map[string]string{"WORKERS1": "2", "WORKERS2": "5", "WORKERS3": "6"}},
	{env: newest, how: "fewer-workers", vars: map[string]string{"WORKERS1": "5", "WORKERS2": "2", "WORKERS3": "1"}},
	{env: newest, how: "one-worker", vars: map[string]string{"WORKERS1": "1", "WORKERS2": "1", "WORKERS3": "1"}},
	{env: "titled", how: "setproctitle"},
	{env: newest, how: "pidfile", args: "--pid=$WORK/pid"},
	{env: newest, how: "no-control-socket", args: "--no-control-socket"},
	{env: newest, how: "worker-tmp-dir", args: "--worker-tmp-dir=/dev/shm"},

	{env: "gunicorn-20.1.0", bind: true},
	{env: "gunicorn-23.0.0", bind: true},
	{env: "gunicorn-26.1.0", bind: true},
	{env: newest, bind: true},
	{env: "workers", class: "gthread", args: "--threads=4", bind: true},
	{env: "workers", class: "gevent", bind: true},
	{env: "workers", class: "tornado", bind: true},
	{env: "workers", class: "asgi", bind: true},
	{env: "workers", class: "uvicorn_worker.UvicornWorker", bind: true},
	{env: "workers", class: "uvicorn.workers.UvicornWorker", module: "uvicorn.workers", bind: true},
	{env: newest, how: "preload", args: "--preload", bind: true},
	{env: newest, how: "unix-socket", vars: map[string]string{"SOCKET": "$WORK/socket", "STABLEHAND_BIND": "unix:$WORK/socket"}, bind: true},
	{env: newest, how: "user", args: "--user=65534 --group=65534", otherUser: true, bind: true},
	{env: newest, how: "more-workers", vars: map[string]string{"WORKERS1": "2", "WORKERS2": "5", "WORKERS3": "6"}, bind: true},
	{env: newest, how: "one-worker", vars: map[string]string{"WORKERS1": "1", "WORKERS2": "1", "WORKERS3": "1"}, bind: true},
	{env: "titled", how: "setproctitle", bind: true},
}

// name is how the test of this way is called.
func (w way) name() string {
	name := w.env + "/" + w.classOrSync()
	if w.how != "" {
		name += "/" + w.how
	}
	if w.bind {
		name += "/bind"
	}
	return name
}

func (w way) classOrSync() string {
	if w.class == "" {
		return "sync"
	}
	return w.class
}

// variables are those that testdata/handoff/*.txt read.
func (w way) variables() map[string]string {
	args := "--worker-class=" + w.classOrSync() + " " + w.args
	if !w.bind {
		args = "--bind=$BIND " + args
	}
	app := "app:wsgi"
	if strings.Contains(w.class, "vicorn") || w.class == "asgi" {
		app = "app:asgi"
	}
	vars := map[string]string{
		"GUNICORN_CMD_ARGS": args,
		"APP":               app,
		"WORKERS1":          "3",
		"WORKERS2":          "3",
		"WORKERS3":          "3",
		"FLOOR":             "0",
	}
	if w.bind {
		vars["STABLEHAND_BIND"] = "$BIND"
	}
	if w.floor != "" {
		vars["FLOOR"] = w.floor
	}
	for name, value := range w.vars {
		vars[name] = value
	}
	return vars
}
