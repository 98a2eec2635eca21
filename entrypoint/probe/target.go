package probe

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// Target is what is asked for. Its zero value is none.
type Target struct {
	text string
	url  *url.URL
}

// Parse reads http://HOST/path or https://HOST/path, where HOST may have a port, and
// the path a query.
func Parse(text string) (Target, error) {
	u, err := url.Parse(text)
	if err != nil {
		return Target{}, bare(err)
	}
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return Target{}, errors.New("does not begin with http:// or https://")
	case u.Hostname() == "":
		return Target{}, errors.New("has no host, which is the Host header")
	case u.User != nil:
		return Target{}, errors.New("has a user, which is not sent")
	case strings.Contains(text, "#"):
		return Target{}, errors.New("has a fragment, which is not sent")
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return Target{}, fmt.Errorf("has %q for a port, which is a number from 1 to 65535", port)
		}
	}
	return Target{text, u}, nil
}

// bare is an error of package url without the URL, which may have a password in it.
func bare(err error) error {
	if wrapped := (*url.Error)(nil); errors.As(err, &wrapped) {
		return wrapped.Err
	}
	return err
}

// String is the URL as it was written.
func (t Target) String() string { return t.text }

// Port is that of HOST, or the one that goes with http or https.
func (t Target) Port() uint16 {
	if n, err := strconv.ParseUint(t.url.Port(), 10, 16); err == nil {
		return uint16(n)
	}
	if t.url.Scheme == "https" {
		return 443
	}
	return 80
}

// request is what is sent.
func (t Target) request() *http.Request {
	return &http.Request{
		Method: http.MethodGet, URL: t.url, Host: t.url.Host, Close: true,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"User-Agent": {userAgent}, "Accept": {"*/*"}},
	}
}

// userAgent tells who reads an access log who has asked.
const userAgent = "stablehand-probe"

// tls is how https is spoken; nil for http.
func (t Target) tls() *tls.Config {
	if t.url.Scheme != "https" {
		return nil
	}
	return &tls.Config{ServerName: t.url.Hostname(), InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}}
}
