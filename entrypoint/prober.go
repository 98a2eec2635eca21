package entrypoint

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"

	"github.com/stablehand/stablehand/entrypoint/gunicorn"
	"github.com/stablehand/stablehand/entrypoint/life"
	"github.com/stablehand/stablehand/entrypoint/probe"
	"github.com/stablehand/stablehand/entrypoint/sockets"
)

// Probe is what each new generation is asked: a URL of package probe's.
type Probe string

// UnmarshalText takes nothing, or a URL of http or https.
func (p *Probe) UnmarshalText(text []byte) error {
	if len(text) > 0 {
		if _, err := probe.Parse(string(text)); err != nil {
			return err
		}
	}
	*p = Probe(text)
	return nil
}

// prober asks generations as package life needs it.
type prober struct {
	target  probe.Target
	log     *slog.Logger
	unknown sync.Once // it has been said that any generation may have answered
}

// newProber is nil where nothing is asked.
func newProber(c Config, log *slog.Logger) life.Prober {
	target, err := probe.Parse(string(c.Probe))
	if err != nil {
		return nil // it is empty: all else was refused when it was read
	}
	return &prober{target: target, log: log}
}

// Probe asks a generation over connections that it alone accepts.
func (p *prober) Probe(ctx context.Context, g life.Generation, report func(answers string)) error {
	dial := func(ctx context.Context) (net.Conn, error) { return p.dial(ctx, g) }
	return p.target.Await(ctx, dial, func(so probe.Answers) { report(so.String()) })
}

// dial connects to a generation: to its own listener, or, where all accept from one
// socket, to a worker of its own.
func (p *prober) dial(ctx context.Context, g life.Generation) (net.Conn, error) {
	if s, ok := g.(separate); ok {
		conn, err := s.listener.Dial(ctx)
		if !errors.Is(err, sockets.ErrShared) {
			return conn, err
		}
	}
	conn, err := masterOf(g).Dial(ctx, p.target.Port(), p.target.Dismiss)
	if gunicorn.Elsewhere(err) {
		err = probe.Reason(err.Error())
	}
	if err != nil {
		return nil, err
	}
	if why := conn.Unknown; why != nil {
		p.unknown.Do(func() { p.sayUnknown(masterOf(g), why) })
	}
	return conn, nil
}

// sayUnknown says why the answer may be another generation's.
func (p *prober) sayUnknown(m *gunicorn.Master, why error) {
	var attrs []any
	var advised interface{ Advice(lines string) string }
	if errors.As(why, &advised) && advised.Advice("") != "" {
		attrs = []any{"do", advised.Advice("")}
	}
	p.log.Warn("cannot tell which generation answers the probe: any answer counts", append([]any{"pid", m.PID(), "reason", why}, attrs...)...)
}
