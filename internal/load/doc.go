// Package load asks an HTTP server the same question over and over and says
// what its clients saw: how many requests failed, for how long nobody was
// answered, and which version of the application answered when.
//
// The clients are a closed loop: each sends its next request as soon as the
// last one is answered, without a pause unless [Options.Pause] says so. So the server is always busy, and a
// listener that is gone for a millisecond is noticed.
//
// A version is the text of an answer, or the serial number of the certificate
// that it came with. A request failed when it was not answered by a complete 200,
// over TLS also when the handshake failed. Nothing is forgiven, but for what every
// HTTP client forgives: see [Options.KeepAlive].
package load
