package main_test

import "testing"

// TestFacts runs testdata/facts, what was seen of gunicorn alone, with each gunicorn
// that is promised to work.
func TestFacts(t *testing.T) {
	for _, env := range []string{
		oldest, "gunicorn-21.2.0", "gunicorn-22.0.0", "gunicorn-23.0.0", "gunicorn-25.3.0", "gunicorn-26.1.0", newest,
	} {
		t.Run(env, func(t *testing.T) {
			t.Parallel()
			run(t, suite{dir: "testdata/facts", mode: asInit, bin: python(t, env)})
		})
	}
}
