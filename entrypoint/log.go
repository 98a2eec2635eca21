package entrypoint

import (
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/lmittmann/tint"
	"golang.org/x/sys/unix"
)

// LogFormat is how the log is written: auto, tint, text or json.
type LogFormat string

// UnmarshalText takes one of the known formats.
func (f *LogFormat) UnmarshalText(text []byte) error {
	switch LogFormat(text) {
	case "auto", "tint", "text", "json":
		*f = LogFormat(text)
		return nil
	}
	return fmt.Errorf("unknown format %q", text)
}

// NewLog writes to out as c says.
func NewLog(c Config, out *os.File) *slog.Logger {
	format := c.LogFormat
	if format == "auto" || format == "" {
		format = "text"
		if isTerminal(out) {
			format = "tint"
		}
	}
	switch format {
	case "tint":
		return slog.New(tint.NewTextHandler(out, &tint.Options{Level: c.LogLevel, TimeFormat: "15:04:05.000", NoColor: !isTerminal(out)}))
	case "json":
		return slog.New(slog.NewJSONHandler(out, &slog.HandlerOptions{Level: c.LogLevel, ReplaceAttr: inSeconds}))
	default:
		return slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{Level: c.LogLevel}))
	}
}

// inSeconds makes a duration a number of seconds, as machines expect it.
func inSeconds(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindDuration {
		a.Value = slog.Float64Value(a.Value.Duration().Seconds())
	}
	return a
}

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// since is the time from t on, as it is logged.
func since(t time.Time) time.Duration { return time.Since(t).Round(time.Millisecond) }

// seconds is a duration as machines are told it.
func seconds(d time.Duration) float64 { return float64(d.Milliseconds()) / 1000 }
