package gunicorn

import (
	"fmt"
	"testing"
	"time"
)

// BenchmarkLook is what a look at a generation costs, of which awaitBeats has one every
// lookEvery, and Soak a part of one every lookSoaking: by how many workers there are. It
// reports the processor time of all threads.
//
//	go test ./entrypoint/gunicorn -run='^$' -bench=Look -benchtime=200x
func BenchmarkLook(b *testing.B) {
	for _, workers := range []int{4, 500} {
		b.Run(fmt.Sprint(workers), func(b *testing.B) {
			m, _ := serve(b, "27.0.1", "--preload", fmt.Sprintf("--workers=%d", workers))
			if w := m.Workers(); w.All != workers || w.Ready != workers {
				b.Fatalf("%d of %d workers are ready, want %d", w.Ready, w.All, workers)
			}
			b.Run("ready", func(b *testing.B) {
				var looks looks
				perLook(b, func() {
					if now, err := looks.look(m); err != nil || now.Ready != workers {
						b.Fatalf("%d of %d workers are ready: %v", now.Ready, workers, err)
					}
					time.Sleep(lookEvery)
				})
			})
			b.Run("soak", func(b *testing.B) {
				perLook(b, func() {
					if _, err := m.ledger.look(m, true); err != nil {
						b.Fatal(err)
					}
				})
			})
		})
	}
}

func perLook(b *testing.B, look func()) {
	before := cpu(b)
	for b.Loop() {
		look()
	}
	b.ReportMetric(float64((cpu(b)-before).Microseconds())/1000/float64(b.N), "cpu-ms/look")
}
