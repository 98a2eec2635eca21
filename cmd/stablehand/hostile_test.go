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
}

// TestQuickStop runs testdata/quick: a stop that is turned into a quick one, with
// gunicorns that do not listen any more by then, and one that does.
func TestQuickStop(t *testing.T) {
	for _, env := range []string{oldest, "gunicorn-23.0.0", newest} {
		for _, m := range []mode{asInit, notAsInit} {
			for _, signal := range []string{"INT", "QUIT"} {
				t.Run(env+"/"+string(m)+"/"+signal, func(t *testing.T) {
					t.Parallel()
					run(t, suite{dir: "testdata/quick", mode: m, bin: python(t, env), vars: map[string]string{"SIGNAL": signal}})
				})
			}
		}
	}
}

// signalScripts are those of testdata/script in which a signal is all that is asked
// for, and so gunicorn's version all that matters.
var signalScripts = []string{"early-signals", "hup", "stop-*", "workers"}

// TestSignals runs signalScripts with the oldest gunicorn, which has other handlers
// than the newest.
func TestSignals(t *testing.T) {
	files := scripts(t, signalScripts)
	for _, m := range []mode{asInit, notAsInit} {
		t.Run(string(m), func(t *testing.T) {
			t.Parallel()
			run(t, suite{dir: "testdata/script", files: files, mode: m, bin: python(t, oldest)})
		})
	}
}
