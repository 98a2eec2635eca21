package main_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// cmdGet asks once. Negated, it wants no answer.
func cmdGet(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) > 0 {
		ts.Fatalf("usage: get")
	}
	answer, err := get(ts)
	if (err != nil) != neg {
		failWithLogs(ts, fmt.Errorf("get: answered %q, %v", answer, err))
	}
	fmt.Fprintln(ts.Stdout(), answer)
}

// cmdAnswers asks until the answer is the wanted one.
func cmdAnswers(ts *testscript.TestScript, neg bool, args []string) {
	refuse(ts, neg)
	if len(args) != 1 {
		ts.Fatalf("usage: answers VERSION")
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(look) {
		answer, err := get(ts)
		if err == nil && answer == args[0] {
			return
		}
		if time.Now().After(deadline) {
			failWithLogs(ts, fmt.Errorf("answered %q, %v, and not %q in %s", answer, err, args[0], patience))
		}
	}
}

// get asks $URL, at $SOCKET if that is set, on a fresh connection.
func get(ts *testscript.TestScript) (string, error) {
	transport := &http.Transport{DisableKeepAlives: true, TLSClientConfig: trust(ts)}
	if socket := ts.Getenv("SOCKET"); socket != "" {
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		}
	}
	client := &http.Client{Timeout: patience, Transport: transport}
	resp, err := client.Get(ts.Getenv("URL"))
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s", resp.Status)
	}
	return strings.TrimSpace(string(body)), err
}

// trust is whom to trust over TLS: who has a certificate for $SERVER_NAME, by
// default the name in $URL, that is vouched for by the one in the file $CA.
func trust(ts *testscript.TestScript) *tls.Config {
	file := ts.Getenv("CA")
	if file == "" {
		return nil
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(ts.ReadFile(file))) {
		ts.Fatalf("%s holds no certificate", file)
	}
	return &tls.Config{RootCAs: roots, ServerName: ts.Getenv("SERVER_NAME")}
}
