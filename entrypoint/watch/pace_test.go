package watch

import (
	"testing"
	"time"
)

// clock is a time that a test moves by hand.
type clock struct{ time.Time }

func (c *clock) after(d time.Duration) time.Time {
	c.Time = c.Add(d)
	return c.Time
}

func start() *clock { return &clock{time.Unix(1_700_000_000, 0)} }

const ms = time.Millisecond

func TestRestIsTwoEqualLooksADebounceApart(t *testing.T) {
	now, p := start(), pace{debounce: 250 * ms}
	p.event(now.Time)
	if got := p.next().Sub(now.Time); got != settle {
		t.Fatalf("first look after %v, want %v", got, settle)
	}
	if p.looked(now.after(settle), now.after(ms), true) {
		t.Fatal("at rest in the moment in which it changed")
	}
	if got := p.next().Sub(now.Time); got != 250*ms {
		t.Fatalf("second look after %v, want the debounce time", got)
	}
	p.event(now.after(100 * ms)) // of the same content: a touch
	if p.looked(now.after(settle), now.after(ms), false) {
		t.Fatal("at rest before the debounce time is over")
	}
	if !p.looked(p.next(), now.after(150*ms), false) {
		t.Fatal("not at rest, though it was quiet for the debounce time")
	}
	if !p.next().IsZero() {
		t.Fatal("looks again though nothing happened")
	}
}

func TestMovingContentIsNeverAtRest(t *testing.T) {
	now, p := start(), pace{debounce: 250 * ms}
	began := now.after(settle)
	for range 1000 {
		start := now.Time
		if p.looked(start, now.after(ms), true) {
			t.Fatal("at rest")
		}
		p.event(now.after(100 * ms))
		now.after(settle)
	}
	if !p.began.Equal(began) {
		t.Errorf("moving since %v, want %v", p.began, began)
	}
}

func TestCostlyLooksWaitForQuiet(t *testing.T) {
	now, p := start(), pace{debounce: 250 * ms}
	p.event(now.Time)
	p.looked(now.after(settle), now.after(time.Second), true)
	ended := now.Time
	p.event(now.after(ms))
	if got := p.next().Sub(now.Time); got != 250*ms {
		t.Errorf("looks %v after the last event, want the debounce time", got)
	}
	for now.Sub(ended) < thrift*time.Second {
		p.event(now.after(100 * ms)) // never quiet
	}
	if got := p.next().Sub(ended); got != thrift*time.Second {
		t.Errorf("looks %v after the last look, want what thrift allows", got)
	}
}

func TestNoDebounceReportsWhatItSees(t *testing.T) {
	now, p := start(), pace{}
	p.event(now.Time)
	if !p.looked(now.after(settle), now.after(ms), true) {
		t.Error("not at rest")
	}
}
