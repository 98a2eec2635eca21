// Package gunicorn is all that stablehand knows of gunicorn: the words of its
// command line, how its master is found, when its workers are ready, which
// signals its master handles already, and how a master is replaced by its
// successor.
//
// Everything is learned from outside, from the process table, so that any
// gunicorn can be looked after unchanged: no plugin, no pidfile, no port.
// Each fact that the code stands on was seen on gunicorn 20.1.0 to 27.0.1 and
// is seen again by the tests.
//
// Of a generation's workers a ledger is kept: each is followed from the first look
// that shows it, so that it is known how it ended, and that one was lost is told
// from one that gunicorn has replaced on purpose. What the kernel does not tell is
// said to be unknown; a worker that no look has shown is not counted.
//
// It decides nothing: when to hand off, when to give up and what to log are
// its caller's. It knows nothing of files that change.
package gunicorn
