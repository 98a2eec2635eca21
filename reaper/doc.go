// Package reaper does PID 1's duty: it reaps every child that nobody else
// waits for, and keeps the exit statuses that matter.
//
// What it promises:
//
//   - No zombie stays: every process that dies as a child of this one is
//     reaped within some milliseconds, whoever started it.
//   - The exit status of a [Process] is the kernel's own. Where it could not
//     be learned it is reported as unknown; it is never made up.
//   - A signal to a [Process] reaches that process or none, also when its pid
//     has been given to another one meanwhile.
//
// Two ways lead there, and the kernel decides once, at the start. Where a pidfd
// tells how a reaped process ended, go-reap reaps whatever it likes, and each
// status comes from a pidfd. Where it does not, go-reap would lose statuses: it
// waits for any child and throws away what it learns. There it is not run, and
// each dead child is looked up first and waited for by its pid; how somebody else's
// child ended is read from the process table, if that comes before its parent's wait.
//
// It knows nothing of gunicorn, of files, or of what a status means to anyone.
package reaper
