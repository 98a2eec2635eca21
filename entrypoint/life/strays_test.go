package life_test

import (
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stablehand/stablehand/entrypoint/life"
	"github.com/stablehand/stablehand/entrypoint/status"
)

// looking is a host that counts the looks for strays.
type looking struct {
	*world
	looks *atomic.Int64
}

func (h looking) Strays(known []life.Generation) ([]status.Stray, error) {
	h.looks.Add(1)
	return h.world.Strays(known)
}

func TestAtRestStraysAreLookedForEverMoreSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(1)
		w.fate = &fate{load: time.Second, finish: time.Second, workers: 2}
		w.command = &command{process: process{w: w, pid: 999, done: make(chan struct{})}, named: true, itself: true}
		host := looking{w, new(atomic.Int64)}
		settings := life.Settings{ReadyTimeout: time.Minute}
		l := life.New(settings, life.World{Log: slog.New(slog.DiscardHandler), Teller: w, Host: host, Disk: w}, life.Content{1})
		signals, ended := make(chan life.Signal), make(chan int, 1)
		go func() { ended <- l.Run(w.command, nil, signals, nil) }()

		time.Sleep(2 * time.Minute)
		soon := host.looks.Load()
		if soon != 4 {
			t.Errorf("%d looks in the first two minutes, want those after 1, 5, 21 and 85 s", soon)
		}
		time.Sleep(365 * 24 * time.Hour)
		after := host.looks.Load()
		if after <= soon || after > soon+10 {
			t.Errorf("%d looks in a year of rest, want a few", after-soon)
		}
		if _, err := l.Status(t.Context()); err != nil {
			t.Error(err)
		}
		if looks := host.looks.Load(); looks != after+1 {
			t.Errorf("%d looks for who asks, want 1", looks-after)
		}
		signals <- life.TERM
		<-ended
		close(w.over)
	})
}
