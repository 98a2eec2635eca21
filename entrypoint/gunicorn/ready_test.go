package gunicorn

import (
	"os"
	"path/filepath"
	"testing"
)

// A worker's file is there before its pre_fork, which may take long: the first
// worker beats in the moment before the file of the second is there, and is not
// all that there will be.
func TestReadyWaitsForWorkersThatAreForkedSlowly(t *testing.T) {
	config := filepath.Join(t.TempDir(), "slow.py")
	hook := "import time\ndef pre_fork(server, worker): time.sleep(1)\n"
	if err := os.WriteFile(config, []byte(hook), 0o644); err != nil {
		t.Fatal(err)
	}
	m, _ := serve(t, "27.0.1", "--workers=4", "--config="+config)
	if w := m.Workers(); w.All != 4 || w.Ready != 4 {
		t.Errorf("ready with %d of %d workers, and there are to be 4", w.Ready, w.All)
	}
}
