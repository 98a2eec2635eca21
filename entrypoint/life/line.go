package life

import (
	"errors"
	"strings"
	"time"

	"github.com/stablehand/stablehand/entrypoint/status"
)

// The log has one line for each event. Its fields are named alike in all of
// them and come in this order: generation, pid, step, workers, how many of them
// are ready, the same of dirty ones, how many were lost, free, needed and limit of memory, reason, took, retry, serving, code, do. Of these
// serving is the number of the generation that answers requests while the line is
// written, 0 where none does, and do is for whoever reads it: what to do about it.

// toDo is the field do, left out where there is nothing to be done.
func toDo(text string) []any {
	if text == "" {
		return nil
	}
	return []any{"do", text}
}

// workersNow are the fields for a generation's workers, as far as it is known.
func workersNow(w status.Workers) []any {
	if w.Blind {
		return []any{"workers", w.All}
	}
	fields := []any{"workers", w.All, "ready", w.Ready}
	if w.Dirty > 0 {
		fields = append(fields, "dirty", w.Dirty, "dirty_ready", w.DirtyReady)
	}
	if w.Lost > 0 {
		fields = append(fields, "lost", w.Lost)
	}
	return fields
}

// why is the field reason, an error or an Exit, after how many workers were
// ready where they took too long.
func (l *Life) why(reason any) []any {
	if err, ok := reason.(error); ok && errors.Is(err, errNotReady) {
		return append(workersNow(l.step.workers), "reason", reason)
	}
	return []any{"reason", reason}
}

// reasons is one line of what may be several errors.
func reasons(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

// since is the time from t on, as it is logged.
func since(t time.Time) time.Duration { return time.Since(t).Round(time.Millisecond) }

// seconds is a duration as machines are told it.
func seconds(d time.Duration) float64 { return float64(d.Milliseconds()) / 1000 }
