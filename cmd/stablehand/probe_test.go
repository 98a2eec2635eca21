package main_test

import "testing"

// probes are the ways in which a generation that is asked is known to be the one that is
// meant.
var probes = []way{
	{env: oldest},
	{env: newest},
	{env: "workers", class: "gthread", args: "--threads=4"},
	{env: "workers", class: "gevent"},
	{env: "workers", class: "tornado"},
	{env: "workers", class: "asgi"},
	{env: "workers", class: "uvicorn_worker.UvicornWorker", floor: "20"},
	{env: newest, how: "unix-socket", args: "--bind=unix:$WORK/socket", vars: map[string]string{"SOCKET": "$WORK/socket"}},
	{env: newest, how: "user", args: "--user=65534 --group=65534", otherUser: true},
	{env: newest, how: "preload", args: "--preload"},

	{env: newest, bind: true},
	{env: "workers", class: "gthread", args: "--threads=4", bind: true},
	{env: "workers", class: "gevent", bind: true},
	{env: "workers", class: "tornado", bind: true},
	{env: "workers", class: "asgi", bind: true},
	{env: "workers", class: "uvicorn_worker.UvicornWorker", bind: true},
	{env: newest, how: "unix-socket", vars: map[string]string{"SOCKET": "$WORK/socket", "STABLEHAND_BIND": "unix:$WORK/socket"}, bind: true},
}

// TestProbe runs testdata/probe in those ways. With a socket that all accept from clients
// may see what is rolled back; with listeners of their own none does.
func TestProbe(t *testing.T) {
	for _, w := range probes {
		t.Run(w.name(), func(t *testing.T) {
			vars := map[string]string{"CLAIM": "silence<5s"}
			if w.bind {
				vars["CLAIM"] = "seen=v1,v3"
			}
			for name, value := range w.vars {
				vars[name] = value
			}
			w.vars = vars
			runWay(t, "testdata/probe", w)
		})
	}
}
