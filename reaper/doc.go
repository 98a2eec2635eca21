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
//   - [Descendants] and [End] leave nothing of a tree behind.
//
// It knows nothing of gunicorn, of files, or of what a status means to anyone.
package reaper
