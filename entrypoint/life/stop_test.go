package life_test

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stablehand/stablehand/entrypoint/life"
)

// mute is a host that never says what is left.
type mute struct {
	*world
	over chan struct{}
}

func (m mute) Clear(context.Context, []life.Generation, time.Duration, time.Duration, func(int)) error {
	<-m.over
	return nil
}

func TestTheEndComesThoughNobodySaysWhatIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(1)
		w.fate = &fate{load: time.Second, finish: time.Hour, workers: 2}
		w.command = &command{process: process{w: w, pid: 999, done: make(chan struct{})}, named: true, itself: true}
		host := mute{w, make(chan struct{})}
		settings := life.Settings{ReadyTimeout: time.Minute, StopTimeout: 5 * time.Second}
		l := life.New(settings, life.World{Log: slog.New(slog.DiscardHandler), Teller: w, Host: host, Disk: w}, life.Content{1})
		signals, ended := make(chan life.Signal), make(chan int, 1)
		go func() { ended <- l.Run(w.command, nil, signals, nil) }()
		time.Sleep(10 * time.Second)
		signals <- life.TERM
		begun := time.Now()
		if code := <-ended; code != life.ExitFailed {
			t.Errorf("code %d, want %d", code, life.ExitFailed)
		}
		if took := time.Since(begun); took > 2*time.Minute {
			t.Errorf("the end took %v", took)
		}
		close(host.over)
		close(w.over)
	})
}
