// Package entrypoint is the container's life: boot, serve, hand off, stop.
//
// One event loop owns all state: which generation serves, whether a handoff
// runs, whether we stop. Signals, changed files, dead processes, timers and
// the handoff's own progress reach it over channels, one at a time.
//
// From the first generation's readiness until stop some ready generation
// accepts requests at every instant: the serving generation gets no TERM
// before every worker of its successor is ready, and a handoff that fails, at
// whatever moment, leaves it untouched and not one process of the successor.
package entrypoint
