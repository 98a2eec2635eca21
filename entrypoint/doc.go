// Package entrypoint puts the parts together: it reads the configuration and the
// command, makes the log, and runs the command until its end.
//
// What happens when is package life's; what is known of gunicorn, package
// gunicorn's. Here is how the one is given the other, and how both are given
// signals, changed files, an operator and a service manager.
package entrypoint
