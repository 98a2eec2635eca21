package life

import (
	"context"
	"crypto/sha256"
	"log/slog"
	"time"

	"github.com/stablehand/stablehand/entrypoint/status"
)

// Settings are what a life is told by the environment; the names and meanings
// are those of its variables.
type Settings struct {
	ReadyTimeout time.Duration
	Soak         time.Duration
	Jitter       time.Duration
	Retry        time.Duration
	Drain        time.Duration
	Room         Room
	StopDelay    time.Duration
	StopTimeout  time.Duration

	Watched  bool          // anything is watched
	Watchdog time.Duration // how often the teller is to hear that the loop turns; 0 = never
}

// World is all that a life stands on. None of it waits, unless it says so.
type World struct {
	Log     *slog.Logger
	Teller  Teller
	Host    Host
	Disk    Disk    // not asked where nothing is watched
	Memory  Memory  // nil where nobody is to look
	Starter Starter // nil where the serving generation brings up its successor
	Prober  Prober  // nil where a generation whose workers are ready is not asked anything
}

// Prober asks generations whether they answer as they should.
type Prober interface {
	// Probe asks one until it does, and reports what has come so far. It waits as long
	// as its context allows; the error is that one's cause, and what has come.
	Probe(ctx context.Context, g Generation, report func(answers string)) error
}

// Memory is what there is of it. Room and Cost may take a while, for a time that is
// bounded, and are called beside the loop.
type Memory interface {
	// Room is how much is left where a successor of a generation would come up: Free
	// and Limit of what it returns.
	Room(context.Context, Generation) (status.Memory, error)

	// Cost is what a generation takes, and another one will: Takes, Needed and Guessed.
	Cost(context.Context, Generation) (status.Memory, error)

	// Seen is what was seen of all that not long ago; nil where nothing was. It does not
	// wait: who asks has a look taken for those who ask later.
	Seen(Generation) *status.Memory
}

// Starter begins generations that have listeners of their own.
type Starter interface {
	// Start begins one afresh, and waits until its master is there. Beside an error
	// nothing is left of it. It waits as long as its context allows, and then for the
	// end of what it has begun.
	Start(context.Context) (Generation, error)
}

// Listener is what a generation has that accepts from sockets of its own.
type Listener interface {
	// Steer has new connections go to it, and to no other. An error means that
	// nothing has changed. It does not wait.
	Steer() error

	// Yield has new connections go to the other listener, which may be that of a
	// generation that is only being started; where there is none it does nothing.
	Yield() error

	// Shared says whether new connections come to it from its start, whoever is steered
	// to: its sockets are those of all.
	Shared() bool

	// Held is how many connections of clients wait to be accepted, and how many the
	// generation holds. It may take a while.
	Held() (waiting, held int, err error)

	// Release has it end with the generation's own processes. Close closes it for
	// everybody. Both may wait for a file system.
	Release()
	Close()
}

// Exit is how a process ended.
type Exit interface {
	Known() bool   // whether the kernel has told how
	ExitCode() int // the code to exit with on its behalf; 1 where it is not known
	String() string
}

// Process is one that a life hears of when it ends.
type Process interface {
	PID() int
	Done() <-chan struct{} // closed when it has ended, and Exit is there
	Exit() Exit            // only once it is Done
}

// Generation is one gunicorn master with its workers, as a life needs it. Those
// methods that take a context, and Workers, may wait, for a time that is bounded
// but for their context, and are called by tasks and by whoever asks. Errors
// about its end have the method ExitCode.
type Generation interface {
	Process

	// Ended is the error of waiting for anything of it once it is Done.
	Ended() error

	// Signal sends a signal to the master at once; to one that has ended it is
	// no error. Deliver sends it as soon as the master handles it.
	Signal(Signal) error
	Deliver(context.Context, Signal) error

	// Finish has it finish what it holds, and end, by TERM, or by a TERM to its workers
	// first, as long as its context allows. Any Signal by which it ends comes to it at
	// once, even so.
	Finish(context.Context) error

	// Hurry tells the workers, too, since a master that finishes does not always
	// listen to INT and QUIT. It does not wait: what it finds it reports.
	Hurry(Signal, func(error))

	// Ready waits until every worker is ready. The serving generation's number of
	// workers is a hint of how many there will be. Each change is reported.
	Ready(ctx context.Context, hint int, report func(status.Workers)) error

	// Soak watches the workers for a while; the loss of one is an error.
	Soak(context.Context, time.Duration) error

	// Listener is nil where generations share the sockets that gunicorn has opened.
	Listener() Listener

	// Spawn has it bring up a successor, which is not ours where somebody else had
	// begun it before. Without an error the relation lasts until Forget.
	Spawn(context.Context) (next Generation, ours bool, err error)
	Forget()

	// Successor looks for one that somebody else has asked for; it is nil if there
	// is none. It may be called of a generation that has ended.
	Successor() Generation

	// Late waits, after a Spawn that has given up, for a successor that it may
	// still bring up; it is nil where none will come. Without an error the
	// relation lasts until Forget.
	Late(context.Context) (Generation, error)

	// More has the master have one worker more, by TTIN, as soon as it handles that, and
	// Less one less, by TTOU. Whoever else sends it these is not meant.
	More(context.Context) error
	Less(context.Context) error

	// Promoted waits until the master, whose parent has gone, takes the next USR2.
	Promoted(context.Context) error

	// Workers looks at the workers once.
	Workers() status.Workers

	// Preloads says whether its application is known to have been loaded by the
	// master, for all workers, also those to come. Logs lists the files in which
	// gunicorn's lines may stand, as far as is known. Neither waits.
	Preloads() bool
	Logs() []string

	// Spent says whether nothing is left of it but its master, which holds nothing that
	// it could finish. It may take a while, as Note may.
	Spent() bool

	// Note looks at all its processes, for what it may leave behind.
	Note()

	// End ends every process of it, with a grace above 0 by TERM to the master
	// first; without an error it is Done. Clear ends what an ended one has left, with
	// a grace above 0 by TERM first. The error is that something is still there, or
	// that nobody knows.
	End(ctx context.Context, grace time.Duration) error
	Clear(ctx context.Context, grace time.Duration) error
}

// Command is what the container was started with: gunicorn's first master, or
// what starts it.
type Command interface {
	Process

	// Named says whether gunicorn stands among its words.
	Named() bool

	// Signal sends a signal to all that the command has started, in the order of
	// the calls. It does not wait: what it finds it reports.
	Signal(Signal, func(error))

	// Find waits until the command is, or has started, a gunicorn master.
	Find(context.Context) (Generation, error)

	// Daemonised says whether a gunicorn has been left behind by the command,
	// which has ended. Twin is the pid of another gunicorn that may have the
	// command's address, and that could not be adopted; 0 if there is none. Both
	// may take a while.
	Daemonised() bool
	Twin() int
}

// Host is every process that stablehand is responsible for, whoever's it is.
type Host interface {
	// Clear waits for what is there to end by itself, and ends what has not, with
	// a grace above 0 by TERM first; begin is told how many that are. What the
	// generations have is meant, too, where it is not below us. It waits as long
	// as its context allows, and is called beside the loop.
	Clear(ctx context.Context, generations []Generation, wait, grace time.Duration, begin func(processes int)) error

	// Keep has who comes after us know that this generation serves, and what it has
	// read; a zero Content is of one of which nobody knows. It does not wait.
	Keep(Generation, Content)

	// Strays lists the gunicorn masters that are there and none of the generations;
	// beside an error those that it could. It may take a while.
	Strays(generations []Generation) ([]status.Stray, error)

	// Suspend stops us, as SIGTSTP would have done if nobody had asked for it.
	Suspend()
}

// Teller is told how the container fares: a service manager.
type Teller interface {
	Ready(status string)
	Reloading(status string)
	Status(text string)
	Stopping(status string)
	Watchdog()
}

// Content stands for the content of all that is watched: the same for the same
// content. Its zero value stands for one that nobody knows.
type Content [sha256.Size]byte

// Change is that what is watched has another content now.
type Change struct {
	Paths   []string  // where
	Files   []string  // which files behind them, as they are shown; not all where they are many
	Content Content   // of all
	Since   time.Time // when it began to move
}

// Written is a file that was seen to be written, be it with what it held.
type Written struct {
	Path string
	Came time.Time // when its name was new; zero where it is an old one
	In   string    // the directory or glob in which it was
}

// Disk is what is watched, as it is now and not only where it has come to rest.
type Disk interface {
	// Moves counts how often it was seen to hold something else, or to have been
	// written though it holds the same. It does not wait.
	Moves() uint64

	// Moving says whether it was seen to move, and a change may be told as soon as it
	// is at rest. It does not wait.
	Moving() bool

	// Written lists files of it that were seen to be written since then, the newest
	// last; where they are many, not all of them. It does not wait.
	Written(since time.Time) []Written

	// Rest takes a look at all of it, whatever was or was not heard of it, and
	// waits until it is at rest. It returns what it holds then, and Moves as of
	// that look. An error means that nobody knows. It waits as long as its context
	// allows, and is called beside the loop.
	Rest(context.Context) (Content, uint64, error)
}
