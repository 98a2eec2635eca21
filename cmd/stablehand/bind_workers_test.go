package main_test

import (
	"maps"
	"testing"
)

// TestBindWorkers runs testdata/bind-workers: what worker classes that hold connections
// for long do with sockets that stablehand opens.
func TestBindWorkers(t *testing.T) {
	for name, class := range map[string]string{"uvicorn": "uvicorn_echo.Worker", "asgi": "asgi"} {
		for _, m := range []mode{asInit, notAsInit} {
			t.Run(name+"/"+string(m), func(t *testing.T) {
				t.Parallel()
				vars := map[string]string{"CLASS": class, "APP": "echo:asgi"}
				maps.Copy(vars, withBind)
				run(t, suite{dir: "testdata/bind-workers", mode: m, bin: python(t, "workers"), vars: vars})
			})
		}
	}
}
