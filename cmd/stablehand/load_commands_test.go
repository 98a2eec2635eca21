package main_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/stablehand/stablehand/internal/load"
)

// keyLoad is where a script's load is kept.
type keyLoad struct{} // *loads

// loads are the load that runs, and all that were started.
type loads struct {
	ctx context.Context
	run *load.Run
}

// cmdLoad puts $URL under load.
//
//	load start [keepalive] [clients=N] [serial]
//	                       with serial, a version is the serial number of the
//	                       certificate; see trust for whom to believe
//	load sees VERSION...   wait until each was answered
//	load stop CLAIM...     stop, and check what the clients saw:
//	                       failed=N failed<=N retries=N
//	                       only=resets: who failed had a connection, that was
//	                       closed before the first byte of an answer
//	                       silence<DURATION silence>DURATION
//	                       seen=VERSION,VERSION,... in this order
//
// Negated, one claim must be wrong.
func cmdLoad(ts *testscript.TestScript, neg bool, args []string) {
	l := ts.Value(keyLoad{}).(*loads)
	switch {
	case len(args) > 0 && args[0] == "start":
		l.run = load.Start(l.ctx, loadOptions(ts, args[1:]))
	case l.run == nil:
		ts.Fatalf("usage: load start|sees|stop, and start comes first")
	case args[0] == "sees":
		ctx, cancel := context.WithTimeout(l.ctx, patience)
		defer cancel()
		for _, version := range args[1:] {
			failWithLogs(ts, l.run.WaitFor(ctx, version))
		}
	case args[0] == "stop":
		result := l.run.Stop()
		ts.Logf("clients saw %s", result)
		var wrong error
		for _, claim := range args[1:] {
			wrong = errors.Join(wrong, check(result, claim))
		}
		if neg && wrong == nil {
			wrong = fmt.Errorf("%q is as claimed: %s", args[1:], result)
		} else if neg {
			wrong = nil
		}
		failWithLogs(ts, wrong)
	}
}

func loadOptions(ts *testscript.TestScript, words []string) load.Options {
	o := load.Options{URL: ts.Getenv("URL"), TLS: trust(ts)}
	if socket := ts.Getenv("SOCKET"); socket != "" {
		o.Dial = load.Unix(socket)
	}
	for _, word := range words {
		clients, ok := strings.CutPrefix(word, "clients=")
		switch {
		case word == "keepalive":
			o.KeepAlive = true
		case word == "serial":
			o.Serial = true
		case ok:
			n, err := strconv.Atoi(clients)
			ts.Check(err)
			o.Clients = n
		default:
			ts.Fatalf("load start does not know %q", word)
		}
	}
	return o
}

// check says in what way a result is not as claimed.
func check(r load.Result, claim string) error {
	wrong := func(format string, args ...any) error {
		return fmt.Errorf("load: %s, claimed was %s\n%s", fmt.Sprintf(format, args...), claim, r)
	}
	if r.Requests == r.Failed {
		return wrong("nothing was answered")
	}
	i := strings.IndexAny(claim, "<=>")
	if i < 0 {
		return fmt.Errorf("load stop does not know %q", claim)
	}
	value := strings.TrimLeft(claim[i:], "<=>")
	switch name := strings.TrimSuffix(claim, value); name {
	case "failed=", "failed<=", "retries=":
		n, err := strconv.Atoi(value)
		got := r.Failed
		if name == "retries=" {
			got = r.Retries
		}
		if err != nil || got > n || got < n && name != "failed<=" {
			return wrong("%d", got)
		}
	case "silence<", "silence>":
		d, err := time.ParseDuration(value)
		if err != nil || (r.Silence < d) != (name == "silence<") {
			return wrong("a silence of %s", r.Silence)
		}
	case "only=":
		if value != "resets" || r.Failed != r.Resets {
			return wrong("%d of %d that failed", r.Resets, r.Failed)
		}
	case "seen=":
		var seen []string
		for _, v := range r.Versions {
			seen = append(seen, v.Text)
		}
		if got := strings.Join(seen, ","); got != value {
			return wrong("seen was %s", got)
		}
	default:
		return fmt.Errorf("load stop does not know %q", claim)
	}
	return nil
}

// failWithLogs fails the script, if there is an error, and shows the log of
// every program.
func failWithLogs(ts *testscript.TestScript, err error) {
	if err == nil {
		return
	}
	for _, p := range ts.Value(keyPrograms{}).(map[string]*program) {
		ts.Logf("[%s]\n%s", p.log, p.logged())
	}
	ts.Fatalf("%v", err)
}
