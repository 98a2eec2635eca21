package entrypoint

import (
	"testing"

	"github.com/stablehand/stablehand/entrypoint/control"
)

// Who has asked for a handoff and does not read holds nobody up, and reads the
// newest when it does.
func TestAFollowerHoldsNobodyUp(t *testing.T) {
	f := make(follower, 1)
	for generation := range 1000 {
		f.tell(control.Handoff{Generation: generation})
	}
	close(f)
	var read []int
	for h := range f {
		read = append(read, h.Generation)
	}
	if len(read) != 1 || read[0] != 999 {
		t.Errorf("read %v, want 999 only", read)
	}
}
