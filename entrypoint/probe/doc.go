// Package probe puts a question to a web server until the answer is good: an HTTP
// request, whose status is all that counts.
//
// What it promises:
//
//   - It asks over connections that it is given, and never by itself: where HOST of the
//     URL leads does not matter. HOST is the Host header, and with https the server name.
//   - An answer is good where its status is 2xx or 3xx. A redirect is not followed.
//   - No more than the header is read, and of that no more than [maxHeader]. So it does
//     not matter how large the body is, or whether it ever ends.
//   - The certificate is not checked: it may be another host's, or have expired, and what
//     is asked is one's own child.
//   - One ask takes [AskTimeout] at the most, whatever the other side does, and all of
//     them end with their context.
//
// It knows nothing of who is asked, or what for.
package probe
