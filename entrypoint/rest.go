package entrypoint

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// restAfter is how long nothing must have happened for us to lie down: much
// shorter than the 15 s in which Prometheus often asks, since that is most of
// what ever happens.
const restAfter = 2 * time.Second

// restRoom is how much the memory may grow while at rest before it is collected
// all the same, or twice what is in use, if that is more: a flood of events that
// are no news, or a look at many files, take some.
const restRoom = 2 << 20

// sleep is what we do most of the time: nothing, in a process that is there for
// the sake of another one. While at rest it is to take little memory, and no
// turn of a processor.
type sleep struct {
	asleep bool
	worked time.Time // when anything last happened
	gc     int       // GOGC as it was
	limit  int64     // GOMEMLIMIT as it was
}

// due fires when nothing has happened for restAfter.
func (s *sleep) due() <-chan time.Time {
	if s.asleep {
		return nil
	}
	return time.After(time.Until(s.worked.Add(restAfter)))
}

// begin gives back what the last work has used: free memory, and the pages of
// the program itself, most of which the kernel has only read in since they lie
// beside one that was called. They stay in the page cache. The garbage
// collection that comes every two minutes would touch a third of them again,
// and finds nothing: it is off until there is work.
func (s *sleep) begin() {
	s.asleep = true
	debug.FreeOSMemory()
	s.gc = debug.SetGCPercent(-1)
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	s.limit = debug.SetMemoryLimit(int64(memory.Sys - memory.HeapReleased + max(restRoom, 2*memory.HeapAlloc)))
	forgetProgram()
}

// end is called when something has happened.
func (s *sleep) end() {
	s.worked = time.Now()
	if s.asleep {
		s.asleep = false
		debug.SetMemoryLimit(s.limit)
		debug.SetGCPercent(s.gc)
	}
}

// forgetProgram gives back the pages of the program's own file, code and
// constants, which are read in again as they are called. Where some of a mapping
// were changed in memory, as by a dynamic linker or a debugger, all of it stays:
// they would not come back as they are.
func forgetProgram() {
	maps, err := os.Open("/proc/self/smaps")
	if err != nil {
		return
	}
	defer maps.Close()
	program, _ := os.Readlink("/proc/self/exe")
	var from, to uintptr
	var mode string
	var own bool
	// proc_pid_smaps(5): a line as in maps, then one for each of its figures
	for lines := bufio.NewScanner(maps); lines.Scan(); {
		line := lines.Text()
		if n, _ := fmt.Sscanf(line, "%x-%x %s", &from, &to, &mode); n == 3 {
			own = strings.HasSuffix(line, " "+program) && !strings.Contains(mode, "w")
		} else if own && strings.HasPrefix(line, "Private_Dirty: ") && strings.HasSuffix(line, " 0 kB") {
			unix.Syscall(unix.SYS_MADVISE, from, to-from, unix.MADV_DONTNEED)
		}
	}
}
