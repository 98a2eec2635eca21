package main_test

import (
	"fmt"
	"os"
	"strconv"
	"testing"
)

// TestAdopt runs testdata/adopt, where stablehand is killed and started again: not as
// PID 1, with which gunicorn would end.
func TestAdopt(t *testing.T) {
	t.Parallel()
	run(t, suite{dir: "testdata/adopt", mode: notAsInit, bin: python(t, newest)})
}

// TestKilledAtEveryMoment runs testdata/moments for moments all over a handoff: in
// each stablehand is killed, and so is the one that takes over, somewhat later.
// MOMENTS=N takes N of them.
func TestKilledAtEveryMoment(t *testing.T) {
	moments := 6
	if n, err := strconv.Atoi(os.Getenv("MOMENTS")); err == nil {
		moments = n
	}
	const whole = 3.2 // seconds that a handoff there takes, and some more
	for i := range moments {
		first := whole * float64(i) / float64(moments)
		second := whole * float64(i*7%moments) / float64(moments) // each pair is another one
		t.Run(fmt.Sprintf("%.2fs,%.2fs", first, second), func(t *testing.T) {
			t.Parallel()
			run(t, suite{dir: "testdata/moments", mode: notAsInit, bin: python(t, newest),
				vars: map[string]string{"FIRST": fmt.Sprint(first), "SECOND": fmt.Sprint(second)}})
		})
	}
}
