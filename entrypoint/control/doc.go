// Package control answers an operator: over a unix socket, which the commands
// reload, status and healthcheck use, and over HTTP, which probes and
// Prometheus use.
//
// It knows the questions and the shape of the answers, and nothing of how a
// container lives: every answer is the [Loop]'s, of the moment. It keeps no
// state of its own. Whoever asks, slowly or often, never makes the loop wait, and
// takes little: how things stand is asked once at a time, and shared by all who
// wait for that; a connection that is idle goes where a new one needs its place.
//
// Both speak HTTP/1.1:
//
//	GET  /status     Status as JSON; on the socket only
//	POST /-/reload   asks for a handoff and waits for its end: 200 when the new
//	                 generation serves, 500 when it was rolled back, 503 when
//	                 there will be none, or too many wait already. With "Accept:
//	                 application/x-ndjson" it answers 200 at once, then with the
//	                 Handoff as JSON, a line each time it has moved on. Who closes
//	                 the connection before the handoff has begun asks for none.
//	                 With ?wait=false it answers 202 and does not wait. On the
//	                 socket and from loopback only
//	GET  /livez      200 while the loop turns
//	GET  /readyz     200 while a ready generation serves and no stop was asked
//	                 for; 503 and a word why not otherwise
//	GET  /healthz    200 while a ready generation serves, also once a stop was
//	                 asked for; 503 and a word why not otherwise; on the socket
//	                 only
//	GET  /metrics    Prometheus text or OpenMetrics
//
// The socket has mode 0600, and serves its owner's processes and root's. HTTP at
// an address has no such protection: it tells nothing that is secret, and takes
// orders from loopback only and none from web pages. Each listener keeps at most
// 64 connections.
package control
