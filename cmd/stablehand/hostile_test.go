package main_test

import "testing"

// TestHostile runs testdata/hostile, where the surroundings do not do their part
// and it takes root to make them so.
func TestHostile(t *testing.T) {
	for _, m := range []mode{asInit, notAsInit} {
		t.Run(string(m), func(t *testing.T) {
			t.Parallel()
			run(t, suite{dir: "testdata/hostile", mode: m, bin: python(t, newest)})
		})
	}
	t.Run("bind", func(t *testing.T) {
		t.Parallel()
		run(t, suite{dir: "testdata/hostile", files: hostileToBind, mode: asInit, bin: python(t, newest), vars: withBind})
	})
}

// hostileToBind are those in which it does not matter that gunicorn opens the sockets.
var hostileToBind = []string{
	"testdata/hostile/hang-start.txt", "testdata/hostile/hang-watched.txt", "testdata/hostile/not-permitted.txt",
	"testdata/hostile/nproc.txt", "testdata/hostile/pids.txt",
}

// TestQuickStop runs testdata/quick: a stop that is turned into a quick one, with
// gunicorns that do not listen any more by then, and one that does.
func TestQuickStop(t *testing.T) {
	runStops(t, "testdata/quick", []string{oldest, "gunicorn-23.0.0", newest}, []string{"INT", "QUIT"})
}

// signalScripts are those of testdata/script in which a signal is all that is asked
// for, and so gunicorn's version all that matters.
var signalScripts = []string{"early-signals", "hup", "stop-*", "workers"}

// TestOldestSignals runs signalScripts with the oldest gunicorn, which has other handlers
// than the newest.
func TestOldestSignals(t *testing.T) {
	files := scripts(t, signalScripts)
	for _, m := range []mode{asInit, notAsInit} {
		t.Run(string(m), func(t *testing.T) {
			t.Parallel()
			run(t, suite{dir: "testdata/script", files: files, mode: m, bin: python(t, oldest)})
		})
	}
}
