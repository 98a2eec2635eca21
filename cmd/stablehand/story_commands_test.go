package main_test

import (
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// cmdStory prints what stablehand itself has logged, whole. What differs from
// run to run is left out, as the time is, or named: PID1 is the first pid that
// is logged, PID2 the second, TOOK a duration that was measured, MOUNTS where the
// machine has mounted what is watched. So are lines
// that only tell of a slow machine.
func cmdStory(ts *testscript.TestScript, neg bool, args []string) {
	refuse(ts, neg)
	p, args := named(ts, args)
	if len(args) > 0 {
		ts.Fatalf("usage: story [NAME]")
	}
	pids := map[string]string{}
	for line := range strings.Lines(p.logged()) {
		if !strings.HasSuffix(line, "\n") || !ownLine.MatchString(line) || tellsOfSlowness.MatchString(line) {
			continue
		}
		line = ownLine.ReplaceAllString(line, "$1$2")
		line = measured.ReplaceAllString(line, "${1}TOOK")
		line = mounted.ReplaceAllString(line, "${1}MOUNTS")
		line = anyPID.ReplaceAllStringFunc(line, func(found string) string {
			part := anyPID.FindStringSubmatch(found)
			if pids[part[2]] == "" {
				pids[part[2]] = fmt.Sprintf("PID%d", len(pids)+1)
			}
			return part[1] + pids[part[2]]
		})
		fmt.Fprint(ts.Stdout(), strings.ReplaceAll(line, ts.Getenv("WORK"), "WORK"))
	}
}

var (
	// ownLine begins a line of stablehand's: text, JSON, as on a terminal, or
	// from before there is a log.
	ownLine  = regexp.MustCompile(`^(?:time=\S+ |(\{)"time":"[^"]*",|\d\d:\d\d:\d\d\.\d{3} |(stablehand: ))`)
	measured = regexp.MustCompile(`(\btook"?[=:])[0-9][0-9.µmsh]*`)
	mounted  = regexp.MustCompile(`(\bmounts"?[=:]"?)[^" }\n]*`)
	anyPID   = regexp.MustCompile(`(\bpid"?[=:]|\bprocess )(\d+)`)

	// tellsOfSlowness is a line that is there on a slow machine only.
	tellsOfSlowness = regexp.MustCompile(`\bmsg"?[=:]"(still at it|reading what is watched, before gunicorn starts)"`)
)

// needStatus skips the test where the kernel forgets how a process ended that
// is not our child, as gunicorn's successor is: before Linux 6.15.
func needStatus(t *testing.T) {
	t.Helper()
	pidfd := -1
	cmd := exec.Command("true")
	cmd.SysProcAttr = &syscall.SysProcAttr{PidFD: &pidfd}
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pidfd)
	info := unix.PidfdInfo{Mask: unix.PIDFD_INFO_EXIT}
	if err := unix.IoctlPidfdInfo(pidfd, &info); err != nil || info.Mask&unix.PIDFD_INFO_EXIT == 0 {
		t.Skip("this kernel has no PIDFD_INFO_EXIT (Linux 6.15)")
	}
}
