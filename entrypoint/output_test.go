package entrypoint

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// A pipe in packet mode, see O_DIRECT in pipe(2), tells what was written at once.
func TestLinesAreWrittenWhole(t *testing.T) {
	from, writer := pipe(t, 0)
	packets, to := pipe(t, unix.O_DIRECT)
	long := strings.Repeat("x", pipeBuf)
	for _, part := range []string{"a be", "ginning\nand", " another\n", long + "long\n", "an end"} {
		writer.WriteString(part)
	}
	writer.Close()
	go func() {
		defer to.Close()
		passOn(to, from)
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
	from, writer := pipe(t, 0)
	gone, to := pipe(t, 0)
	gone.Close()
	written := make(chan error, 1)
	go func() {
		_, err := writer.WriteString(strings.Repeat("a line\n", 100_000)) // more than a pipe holds
		writer.Close()
		written <- err
	}()
	passOn(to, from)
	from.Close()
	if err := <-written; err != nil {
		t.Error(err)
	}
}

func pipe(t *testing.T, flags int) (r, w *os.File) {
	t.Helper()
	var ends [2]int
	if err := unix.Pipe2(ends[:], flags|unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	r, w = os.NewFile(uintptr(ends[0]), "reader"), os.NewFile(uintptr(ends[1]), "writer")
	t.Cleanup(func() {
		r.Close()
		w.Close()
	})
	return r, w
}
