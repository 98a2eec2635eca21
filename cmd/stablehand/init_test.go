package main_test

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
)

// runInit is PID 1 of a namespace in which the program is an ordinary process.
// It starts the words, reaps whatever becomes its child, and writes the exit
// code of the words to descriptor 3. Then it stays until its standard input
// ends, so that what they left behind can be seen.
func runInit(words []string) {
	go func() {
		io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	os.Unsetenv(envInit)
	more := make(chan os.Signal, 1)
	signal.Notify(more, syscall.SIGCHLD)
	null, err := os.Open(os.DevNull)
	if err != nil {
		fatalInit(err)
	}
	path, err := exec.LookPath(words[0])
	if err != nil {
		fatalInit(err)
	}
	child, err := os.StartProcess(path, words, &os.ProcAttr{Files: []*os.File{null, os.Stdout, os.Stderr}})
	if err != nil {
		fatalInit(err)
	}
	report := os.NewFile(3, "exit code")
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case err == syscall.EINTR:
		case err != nil: // no child is left: what one that came from outside leaves behind becomes one
			<-more
		case pid == child.Pid:
			fmt.Fprintln(report, exitCode(status))
			report.Close()
		}
	}
}

// exitCode is what a shell makes of a status.
func exitCode(status syscall.WaitStatus) int {
	if status.Signaled() {
		return 128 + int(status.Signal())
	}
	return status.ExitStatus()
}

func fatalInit(err error) {
	fmt.Fprintln(os.Stderr, "init:", err)
	os.Exit(1)
}
