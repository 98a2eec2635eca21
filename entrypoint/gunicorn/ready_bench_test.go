package gunicorn

import (
	"fmt"
	"testing"

	"golang.org/x/sys/unix"
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
			b.Run("ready", func(b *testing.B) { perLook(b, func() { lookOnce(b, m) }) })
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

// lookOnce is what awaitBeats does between two pauses.
func lookOnce(b *testing.B, m *Master) {
	_, _ = m.note()
	m.learnLogs()
	m.loops()
	m.Handles(unix.SIGUSR2)
	beats, err := heartbeats(m.PID())
	if err != nil {
		b.Fatal(err)
	}
	if _, err := m.ledger.look(m, beating(beats)); err != nil {
		b.Fatal(err)
	}
	now := m.ledger.figures()
	now.All, now.Ready = count(beats)
	m.countDirty(beats, &now)
	if now.Ready != now.All {
		b.Fatalf("%d of %d workers are ready", now.Ready, now.All)
	}
}
