package main_test

import "testing"

// TestWorkers runs testdata/workers, what is seen of workers from outside, with the
// oldest gunicorn and the newest: they fork and reap them in different ways.
func TestWorkers(t *testing.T) {
	for _, env := range []string{oldest, newest} {
		for _, m := range []mode{asInit, notAsInit} {
			t.Run(env+"/"+string(m), func(t *testing.T) {
				t.Parallel()
				needStatus(t)
				run(t, suite{dir: "testdata/workers", mode: m, bin: python(t, env)})
			})
		}
	}
}
