// Package life decides what happens next in a container whose command is
// gunicorn: boot, serve, hand off, stop.
//
// One event loop owns all state: which generation serves, whether a handoff
// runs, whether we stop. Signals, changes, dead processes, timers, questions and
// the progress of the one task that may run, a boot or a handoff, reach it over
// channels, one at a time. Nothing that the loop calls can wait: whatever takes
// time is done by the task, or by whoever asks, and reported.
//
// What it promises:
//
//   - From the first generation's readiness until stop some ready generation
//     accepts requests at every instant: the serving generation gets no TERM
//     before every worker of its successor is ready.
//   - One handoff at a time, and so at most two generations. Any number of
//     changes during one lead to exactly one more, to which a hopeless one gives
//     way.
//   - A handoff that fails, for whatever reason and at whatever moment, leaves
//     the serving generation untouched and not one process of the successor.
//   - A signal is passed on before anything is said of it.
//   - A stop comes to its end, also where a task does not, or a process cannot be
//     killed.
//
// It does nothing by itself to anything outside: it is given generations, a
// command, a log, somebody to tell, what is watched, and the rest of the processes
// (see [World]),
// and it reads no clock but package time's. So a test can give it any of them,
// and live through a million lives in a few minutes.
package life
