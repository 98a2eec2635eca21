package entrypoint

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/lmittmann/tint"
	"golang.org/x/sys/unix"

	"github.com/stablehand/stablehand/entrypoint/sink"
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

// OpenLog logs to a file, such as standard error, as c says, and makes nobody
// wait for who reads it. The sink is to be closed at the end, with what is still
// queued.
func OpenLog(c Config, to *os.File) (*slog.Logger, *sink.Sink) {
	terminal := isTerminal(to)
	lines := sink.New(to, func(lost int, err error) []byte {
		var line bytes.Buffer
		log := NewLog(c, &line, terminal)
		if err != nil {
			log.Warn("log lines were lost since the log could not be written", "lines", lost, "reason", err)
		} else {
			log.Warn("log lines were dropped since nobody read the log", "lines", lost)
		}
		return line.Bytes()
	})
	return NewLog(c, lines, terminal), lines
}

// NewLog writes to out as c says, a line in each Write. On a terminal it has colours,
// unless NO_COLOR is set to anything (https://no-color.org).
func NewLog(c Config, out io.Writer, terminal bool) *slog.Logger {
	format := c.LogFormat
	if format == "auto" || format == "" {
		format = "text"
		if terminal {
			format = "tint"
		}
	}
	switch format {
	case "tint":
		return slog.New(tint.NewTextHandler(out, &tint.Options{Level: c.LogLevel, TimeFormat: "15:04:05.000", NoColor: !terminal || os.Getenv("NO_COLOR") != ""}))
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

// isTerminal leaves the file's flags alone: [os.File.Fd] may change them for
// every process that shares it.
func isTerminal(f *os.File) bool {
	raw, err := f.SyscallConn()
	if err != nil {
		return false
	}
	yes := false
	err = raw.Control(func(fd uintptr) {
		_, err := unix.IoctlGetTermios(int(fd), unix.TCGETS)
		yes = err == nil
	})
	return err == nil && yes
}
