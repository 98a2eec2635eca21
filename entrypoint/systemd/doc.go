// Package systemd speaks with the service manager that has started us, in
// systemd's protocol, which other managers speak, too: it is told how we fare
// (sd_notify(3)), hears of us every so often (sd_watchdog_enabled(3)), and may
// hand us sockets (sd_listen_fds(3)).
//
// Nobody waits for a manager that does not listen. What it is to be told is
// queued, in order, and sent by a goroutine that is there only meanwhile; of a
// queue that is full the oldest goes first, so that a manager that listens again
// hears in the end how things stand. Where no manager has named its socket,
// nothing runs at all.
//
// It knows nothing of gunicorn: what that needs to take the sockets is not here.
package systemd
