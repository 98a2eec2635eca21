package main_test

import (
	"os"
	"os/exec"
	"testing"
)

// BenchmarkHealthcheck measures a healthcheck from start to exit, beside what
// any command of this program takes. E2E_STABLEHAND names one that was built
// without -race.
func BenchmarkHealthcheck(b *testing.B) {
	needNamespace(b, asInit)
	bin, err := binary()
	if err != nil {
		b.Fatal(err)
	}
	env := append(os.Environ(), "STABLEHAND_CONTROL="+serveForTest(b))
	for _, word := range []string{"version", "healthcheck"} {
		b.Run(word, func(b *testing.B) {
			for b.Loop() {
				cmd := exec.Command(bin, word)
				cmd.Env = env
				if out, err := cmd.CombinedOutput(); err != nil {
					b.Fatalf("%v: %s", err, out)
				}
			}
		})
	}
}
