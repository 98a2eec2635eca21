package main_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stablehand/stablehand/internal/load"
)

// BenchmarkWays hands over under the load of 8 clients, with gunicorn's sockets (USR2)
// and with ours (BIND), on a connection for each request (new) and on connections that
// are used again (kept). One iteration is one handoff, the end of the old generation
// included.
//
//	make bench-bind HANDOFFS=20                        a table of all worker classes
//	make bench-bind HANDOFFS=20 CLASS=gevent           of one
//	make bench-bind HANDOFFS=20 CLASS=gevent/BIND/new  of one way, with such connections
//
// It reports how many of how many requests have failed in all, and of those that were
// sent again on a fresh connection, as HTTP clients do where a kept one was closed; how
// long a handoff took until the next one could begin, but for a drain; the longest that
// a client waited for an answer. "only new" is how long after a change the last old
// answer came, in the median and at the most, and "start" how long gunicorn by itself takes
// until all its workers have loaded, under the same load, the median of five.
func BenchmarkWays(b *testing.B) {
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "class\tway\tconnections\thandoffs\trequests\tfailed\tsent again\thandoff s\tworst wait s\tstart s\tonly new s\tat most s")
	for _, class := range []struct{ name, env, words string }{
		{"sync", newest, "app:wsgi"},
		{"gthread", "workers", "--worker-class=gthread --threads=4 app:wsgi"},
		{"gevent", "workers", "--worker-class=gevent app:wsgi"},
		{"tornado", "workers", "--worker-class=tornado app:wsgi"},
		{"asgi", "workers", "--worker-class=asgi app:asgi"},
		{"dirty", newest, "--dirty-app=dirtied:Version --dirty-workers=2 dirtied:wsgi"},
		{"uvloop", "workers", "--worker-class=uvicorn_worker.UvicornWorker app:asgi"},
		{"asyncio", "workers", "--worker-class=uvicorn_worker.UvicornH11Worker app:asgi"},
	} {
		b.Run(class.name, func(b *testing.B) {
			words := append([]string{fmt.Sprintf("--workers=%d", workersOfEach)}, strings.Fields(class.words)...)
			for _, way := range []struct{ name, bind string }{{"USR2", ""}, {"BIND", "$BIND"}} {
				b.Run(way.name, func(b *testing.B) {
					for _, kept := range []bool{false, true} {
						connections := map[bool]string{false: "new", true: "kept"}[kept]
						b.Run(connections, func(b *testing.B) {
							bin := python(b, class.env)
							r := startReloaded(b, bin, "0", append([]string{"stablehand", "gunicorn"}, words...), "STABLEHAND_BIND="+way.bind)
							r.load.KeepAlive = kept
							fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", class.name, way.name, connections, r.handOffs(b, bin, words))
						})
					}
				})
			}
		})
	}
	fmt.Println()
	table.Flush()
}

const workersOfEach = 3

// cost is what handoffs have cost the clients.
type cost struct {
	handoffs          int
	result            load.Result
	took, worst       time.Duration // the mean, and the longest wait of a client
	start             time.Duration // of gunicorn by itself
	onlyNew, latestly time.Duration // the median and the most
}

func (c cost) String() string {
	return fmt.Sprintf("%d\t%d\t%d\t%d\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f", c.handoffs, c.result.Requests, c.result.Failed, c.result.Retries,
		c.took.Seconds(), c.worst.Seconds(), c.start.Seconds(), c.onlyNew.Seconds(), c.latestly.Seconds())
}

var tookIn = regexp.MustCompile(` took=(\S+)`)

// handOffs has handoffs under load, one an iteration.
func (r *reloaded) handOffs(b *testing.B, bin string, words []string) (c cost) {
	c.start = r.ownStart(b, bin, words)
	var worst atomic.Int64
	r.load.Each = func(q load.Request) {
		wait := int64(q.Ended.Sub(q.Began))
		for old := worst.Load(); wait > old && !worst.CompareAndSwap(old, wait); old = worst.Load() {
		}
	}
	r.clients = load.Start(b.Context(), r.load)
	first := r.version
	var changes []time.Time
	for b.Loop() {
		changes = append(changes, time.Now())
		c.took += r.handOff(b)
	}
	c.handoffs, c.took = len(changes), c.took/time.Duration(len(changes))
	c.result, c.worst = r.clients.Stop(), time.Duration(worst.Load())
	var onlyNew []time.Duration
	for i, at := range changes {
		onlyNew = append(onlyNew, c.result.Version(fmt.Sprint("v", first+i)).Last.Sub(at))
	}
	slices.Sort(onlyNew)
	c.onlyNew, c.latestly = onlyNew[len(onlyNew)/2], onlyNew[len(onlyNew)-1]
	if c.result.Failed > 0 {
		b.Log(c.result)
	}
	b.ReportMetric(float64(c.result.Requests), "requests")
	b.ReportMetric(float64(c.result.Failed), "failed")
	b.ReportMetric(c.took.Seconds(), "handoff-s")
	b.ReportMetric(c.worst.Seconds(), "worst-wait-s")
	b.ReportMetric(c.onlyNew.Seconds(), "only-new-s")
	return c
}

// handOff writes the next version, and waits until the old generation has ended. It
// returns how long the log says that the handoff took.
func (r *reloaded) handOff(b *testing.B) time.Duration {
	r.version++
	r.write(b)
	found := tookIn.FindStringSubmatch(r.see(b, `msg="handed off"`))
	if found == nil {
		b.Fatal("the log does not say how long the handoff took", r.logged())
	}
	took, err := time.ParseDuration(found[1])
	if err != nil {
		b.Fatal(err)
	}
	r.answered(b)
	r.wait(b, func(log string) bool { // with USR2 it has retired before
		return strings.Count(log, "msg=retired") == strings.Count(log, `msg="handed off"`)
	})
	return took
}

// ownStart is how long gunicorn without us takes from its start until all its workers
// have entered their loop, under load: the median of five.
func (r *reloaded) ownStart(b *testing.B, bin string, words []string) time.Duration {
	clients := load.Start(b.Context(), r.load)
	defer clients.Stop()
	var starts []time.Duration
	for range 5 {
		starts = append(starts, r.startOnce(b, bin, words))
	}
	slices.Sort(starts)
	return starts[len(starts)/2]
}

func (r *reloaded) startOnce(b *testing.B, bin string, words []string) time.Duration {
	port, err := freePort()
	if err != nil {
		b.Fatal(err)
	}
	address := fmt.Sprintf("127.0.0.1:%d", port)
	gunicorn := exec.Command(filepath.Join(bin, "gunicorn"), append(words, "--bind="+address)...)
	gunicorn.Dir = r.dir
	gunicorn.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	begun := time.Now()
	if err := gunicorn.Start(); err != nil {
		b.Fatal(err)
	}
	defer gunicorn.Wait()
	defer unix.Kill(-gunicorn.Process.Pid, unix.SIGKILL) // its workers with it
	for time.Since(begun) < patience {
		if all, beaten := beats(gunicorn.Process.Pid); all == workersOfEach && beaten == all {
			return time.Since(begun)
		}
		time.Sleep(look)
	}
	b.Fatal("gunicorn does not get ready")
	return 0
}

// see waits for a line of the log.
func (r *reloaded) see(b *testing.B, pattern string) string {
	line, err := r.await(regexp.MustCompile(pattern))
	if err != nil {
		b.Fatal(err, r.logged())
	}
	return line
}

// wait waits until the log is as is wanted.
func (r *reloaded) wait(b *testing.B, done func(log string) bool) {
	for end := time.Now().Add(patience); !done(r.logged()); time.Sleep(look) {
		if time.Now().After(end) {
			b.Fatal("the old generation does not retire", r.logged())
		}
	}
}
