package entrypoint

import (
	"bufio"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stablehand/stablehand/internal/pipes"
)

// What nobody read is told in the log's own format.
func TestALogThatNobodyReadHoldsNobodyUp(t *testing.T) {
	for format, want := range map[LogFormat]string{
		"auto": `^time=\S+ level=WARN msg="log lines were dropped since nobody read the log" lines=\d+$`,
		"text": `^time=\S+ level=WARN msg="log lines were dropped since nobody read the log" lines=\d+$`,
		"tint": `^\d\d:\d\d:\d\d\.\d+ WRN log lines were dropped since nobody read the log lines=\d+$`,
		"json": `^{"time":"[^"]+","level":"WARN","msg":"log lines were dropped since nobody read the log","lines":\d+}$`,
	} {
		t.Run(string(format), func(t *testing.T) {
			r, w := pipes.New(t, 0)
			log, lines := OpenLog(Config{LogFormat: format}, w)
			for range 20_000 {
				log.Info("something has happened", "generation", 1)
			}
			read := make(chan bool)
			go func() {
				defer close(read)
				told := regexp.MustCompile(want)
				for scan := bufio.NewScanner(r); scan.Scan(); {
					if told.MatchString(scan.Text()) {
						read <- true
						return
					}
				}
			}()
			if !<-read {
				t.Error("nothing was told to be lost")
			}
			r.Close()
			if !lines.Close(time.Minute) {
				t.Error("it was not written in time")
			}
		})
	}
}

func TestNoColorIsHeeded(t *testing.T) {
	for noColor, coloured := range map[string]bool{"": true, "1": false} {
		t.Setenv("NO_COLOR", noColor)
		var out strings.Builder
		NewLog(Config{}, &out, true).Warn("something has happened")
		if strings.Contains(out.String(), "\x1b[") != coloured {
			t.Errorf("NO_COLOR=%s: %q", noColor, out.String())
		}
	}
}

// O_NONBLOCK would be set for gunicorn as well, which shares the file.
func TestTheFlagsOfTheLogAreLeftAlone(t *testing.T) {
	for _, flags := range []int{0, unix.O_NONBLOCK} {
		_, w := pipes.New(t, flags)
		shared, err := unix.Dup(int(w.Fd()))
		if err != nil {
			t.Fatal(err)
		}
		ours := os.NewFile(uintptr(shared), "shared")
		defer ours.Close()
		if err := unix.SetNonblock(shared, flags != 0); err != nil {
			t.Fatal(err)
		}
		log, lines := OpenLog(Config{}, ours)
		log.Info("something has happened")
		lines.Close(time.Minute)
		if got, err := unix.FcntlInt(uintptr(shared), unix.F_GETFL, 0); err != nil || got&unix.O_NONBLOCK != flags {
			t.Errorf("flags %#o, %v; want O_NONBLOCK %v", got, err, flags != 0)
		}
	}
}
