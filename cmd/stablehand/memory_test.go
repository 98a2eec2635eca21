package main_test

import "testing"

// TestMemory runs testdata/memory, in a cgroup that has too little for two generations, by
// USR2 and with sockets that stablehand opens.
func TestMemory(t *testing.T) {
	t.Parallel()
	for name, vars := range map[string]map[string]string{"usr2": nil, "bind": withBind} {
		t.Run(name, func(t *testing.T) {
			run(t, suite{dir: "testdata/memory", mode: asInit, bin: python(t, newest), vars: vars})
		})
	}
}
