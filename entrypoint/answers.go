package entrypoint

import (
	"context"
	"errors"
	"os"

	"github.com/stablehand/stablehand/entrypoint/control"
	"github.com/stablehand/stablehand/entrypoint/life"
	"github.com/stablehand/stablehand/entrypoint/status"
	"github.com/stablehand/stablehand/entrypoint/watch"
	"github.com/stablehand/stablehand/reaper"
)

// answers is all that package control asks: the loop, and who knows what the loop
// does not.
type answers struct {
	life     *life.Life
	reaper   *reaper.Reaper
	watcher  *watch.Watcher
	resolver *watch.Resolver
}

// Status is how things stand, but for what is watched.
func (a answers) Status(ctx context.Context) (status.Status, error) {
	s, err := a.life.Status(ctx)
	s.Version, s.PID = Version(), os.Getpid()
	s.Totals.Reaped, s.Totals.WatchErrors = a.reaper.Reaped(), a.watcher.Errors()
	return s, err
}

// Watched is what WATCH leads to.
func (a answers) Watched(ctx context.Context) []status.Watched {
	var list []status.Watched
	for _, r := range a.resolver.Resolve(ctx) {
		list = append(list, status.Watched{Path: r.Path, To: r.To, Files: r.Files, Faults: r.Faults})
	}
	return list
}

// Reload asks for a handoff on behalf of somebody who waits for its end.
func (a answers) Reload(ctx context.Context) (<-chan status.Handoff, error) {
	handoff, err := a.life.Reload(ctx)
	return handoff, refusal(err)
}

// ReloadSoon asks for one on behalf of somebody who does not.
func (a answers) ReloadSoon(ctx context.Context) error {
	return refusal(a.life.ReloadSoon(ctx))
}

func refusal(err error) error {
	if errors.Is(err, life.ErrStopping) {
		return control.ErrNoHandoff
	}
	return err
}
