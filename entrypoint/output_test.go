package entrypoint

import (
	"bytes"
	"io"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/stablehand/stablehand/entrypoint/sink"
	"github.com/stablehand/stablehand/internal/pipes"
)

// A pipe in packet mode, see O_DIRECT in pipe(2), tells what was written at once.
func TestLinesAreWrittenWhole(t *testing.T) {
	from, writer := pipes.New(t, 0)
	packets, to := pipes.New(t, unix.O_DIRECT)
	long := strings.Repeat("x", pipeBuf)
	for _, part := range []string{"a be", "ginning\nand", " another\n", long + "long\n", "an end"} {
		writer.WriteString(part)
	}
	writer.Close()
	go func() {
		defer to.Close()
		lines := sink.New(to, nil)
		passOn(lines, from)
		lines.Close(time.Minute)
	}()
	var got []string
	for b := make([]byte, pipeBuf); ; {
		n, err := packets.Read(b)
		if err != nil {
			break
		}
		got = append(got, string(b[:n]))
	}
	want := []string{"a beginning\n", "and another\n", long, "long\n", "an end"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestGunicornNeedNotWaitWhereNobodyReadsUs(t *testing.T) {
	from, writer := pipes.New(t, 0)
	gone, to := pipes.New(t, 0)
	gone.Close()
	written := make(chan error, 1)
	go func() {
		_, err := writer.WriteString(strings.Repeat("a line\n", 100_000)) // more than a pipe holds
		writer.Close()
		written <- err
	}()
	passOn(sink.New(to, nil), from)
	from.Close()
	if err := <-written; err != nil {
		t.Error(err)
	}
}

// A reader that does not read, and may yet, is the same as none after a while.
func TestGunicornNeedNotWaitForWhoDoesNotRead(t *testing.T) {
	from, writer := pipes.New(t, unix.O_NONBLOCK)
	_, to := pipes.New(t, 0)
	var log bytes.Buffer
	lines := sink.New(to, dropped(slog.New(slog.NewTextHandler(&log, nil))))
	o := &output{pipes: []*os.File{from}, sinks: []*sink.Sink{lines}}
	o.readers.Go(func() { passOn(lines, from) })
	if _, err := writer.WriteString(strings.Repeat("a line\n", 200_000)); err != nil {
		t.Error(err)
	}
	o.close() // though writer is open
	if lines.Flush(0) {
		t.Error("all is said to be passed on, and nobody has read")
	}
}

// Who reads slowly gets every line: gunicorn waits for them.
func TestWhoReadsSlowlyGetsEveryLine(t *testing.T) {
	from, writer := pipes.New(t, 0)
	r, to := pipes.New(t, 0)
	go func() {
		writer.WriteString(strings.Repeat("a line\n", 200_000)) // more than a sink holds
		writer.Close()
	}()
	go func() {
		defer to.Close()
		lines := sink.New(to, nil)
		passOn(lines, from)
		lines.Close(time.Minute)
	}()
	n, err := io.Copy(io.Discard, r)
	if n != 1_400_000 || err != nil {
		t.Errorf("%d bytes, %v", n, err)
	}
}
