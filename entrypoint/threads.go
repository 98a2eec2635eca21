package entrypoint

import (
	"os"
	"runtime"
	"runtime/debug"
	"sync"
)

const (
	// processors is on how many we run at once at the most: a process that is
	// there for the sake of another one needs no more, and the runtime may have as
	// many more threads.
	processors = 2

	// threads is how many are there once a command was started. Each system call that waits
	// has one: the log's writer, the service manager's, a look at what is watched,
	// a question at a file system, one at the process table, one at what memory there
	// is, a fork; and the runtime's own.
	threads = 13

	// garbage is how much of it may be there before it is collected, in percent of
	// what is in use: with 100 the heap would be allowed 4 MB before the first time.
	garbage = 25
)

// settle makes us small, and has the runtime make the threads that it will need. Where no
// process is left to the container (pids.max of its cgroup), the runtime cannot make
// another one, and dies of it, and PID 1 with it. Those that are there it keeps.
//
// It takes some milliseconds, for which a command need not wait of which we are only the init.
func settle() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(garbage)
	}
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(min(processors, runtime.NumCPU()))
	}
	var there sync.WaitGroup
	release := make(chan struct{})
	for range threads {
		there.Add(1)
		go func() {
			runtime.LockOSThread() // and so no other goroutine has this thread
			defer runtime.UnlockOSThread()
			there.Done()
			<-release
		}()
	}
	there.Wait()
	close(release)
}
