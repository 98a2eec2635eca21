package main_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stablehand/stablehand/internal/pipes"
)

// The end comes, with its exit code, also where nobody reads what is said, or
// will ever do.
func TestTheEndComesThoughNobodyReads(t *testing.T) {
	t.Parallel()
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		words []string
		env   []string
		code  int
	}{
		"refused":              {nil, []string{"STABLEHAND_RETRY=soon"}, 2},
		"refused for machines": {nil, []string{"STABLEHAND_RETRY=soon", "STABLEHAND_LOG_FORMAT=json"}, 2},
		"plain":                {[]string{"--", "sh", "-c", "exit 7"}, nil, 7},
	} {
		for _, stderr := range []struct {
			name string
			file *os.File
		}{{"full", fullPipe(t)}, {"closed", closedPipe(t)}} {
			t.Run(name+"/"+stderr.name, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				cmd := exec.CommandContext(ctx, bin, test.words...)
				cmd.Env = append(append(os.Environ(), "GORACE="+exitOnRace), test.env...)
				cmd.Stderr = stderr.file
				if err := cmd.Run(); cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != test.code {
					t.Errorf("%v, want exit code %d", err, test.code)
				}
			})
		}
	}
}

// fullPipe is one that takes no more, and that nobody reads.
func fullPipe(t *testing.T) *os.File {
	t.Helper()
	_, w := pipes.New(t, 0)
	fd := int(w.Fd())
	if err := unix.SetNonblock(fd, true); err != nil {
		t.Fatal(err)
	}
	for _, piece := range [][]byte{make([]byte, 4096), make([]byte, 1)} {
		for err := error(nil); !errors.Is(err, unix.EAGAIN); {
			if _, err = unix.Write(fd, piece); err != nil && !errors.Is(err, unix.EAGAIN) {
				t.Fatal(err)
			}
		}
	}
	if err := unix.SetNonblock(fd, false); err != nil {
		t.Fatal(err)
	}
	return w
}

// closedPipe is one whose reader has gone.
func closedPipe(t *testing.T) *os.File {
	t.Helper()
	r, w := pipes.New(t, 0)
	r.Close()
	return w
}
