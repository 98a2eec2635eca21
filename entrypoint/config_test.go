package entrypoint

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stablehand/stablehand/entrypoint/sockets"
	"github.com/stablehand/stablehand/entrypoint/watch"
)

func TestConfigDefaults(t *testing.T) {
	c, errs := ReadConfig([]string{"PATH=/bin", "STABLEHAND_SOAK="})
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	want := Config{
		WatchIgnore:  watch.DefaultIgnore,
		Debounce:     250 * time.Millisecond,
		ReadyTimeout: 2 * time.Minute,
		Memory:       "warn",
		Drain:        time.Second,
		Retry:        10 * time.Second,
		LogFormat:    "auto",
	}
	if diff := cmp.Diff(want, c); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestConfigReadsEachVariable(t *testing.T) {
	c, errs := ReadConfig([]string{
		"STABLEHAND_BIND=127.0.0.1:8000,[::1]:8000", "STABLEHAND_ENV_FILE=/etc/app.env", "STABLEHAND_DRAIN=5s",
		"STABLEHAND_APP=app:app", "STABLEHAND_WATCH=/etc/app,/srv/app.py", "STABLEHAND_WATCH_IGNORE=*.log",
		"STABLEHAND_WATCH_POLL=8s", "STABLEHAND_DEBOUNCE=1s", "STABLEHAND_READY_TIMEOUT=2s", "STABLEHAND_SOAK=3s", "STABLEHAND_JITTER=4s",
		"STABLEHAND_PROBE=https://example.org/healthz",
		"STABLEHAND_RETRY=0", "STABLEHAND_MEMORY=shrink", "STABLEHAND_STOP_DELAY=6s", "STABLEHAND_STOP_TIMEOUT=7s",
		"STABLEHAND_LOG_LEVEL=warn", "STABLEHAND_LOG_FORMAT=json",
	})
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	want := Config{
		Bind: addresses(t, "127.0.0.1:8000", "[::1]:8000"), EnvFile: []string{"/etc/app.env"}, Drain: 5 * time.Second,
		App: "app:app", Watch: []string{"/etc/app", "/srv/app.py"}, WatchIgnore: []string{"*.log"},
		WatchPoll: 8 * time.Second, Debounce: time.Second, ReadyTimeout: 2 * time.Second, Probe: "https://example.org/healthz", Soak: 3 * time.Second, Jitter: 4 * time.Second,
		Retry: 0, Memory: "shrink", StopDelay: 6 * time.Second, StopTimeout: 7 * time.Second,
		LogLevel: 4, LogFormat: "json",
	}
	if diff := cmp.Diff(want, c, cmp.Comparer(func(a, b sockets.Address) bool { return a == b })); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func addresses(t *testing.T, texts ...string) (list Addresses) {
	t.Helper()
	for _, text := range texts {
		address, err := sockets.ParseAddress(text)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, address)
	}
	return list
}

func TestConfigTellsWhatBindAndItsFilesNeed(t *testing.T) {
	for environ, want := range map[string]string{
		"STABLEHAND_BIND=8000":              `STABLEHAND_BIND="8000": want addresses, such as 0.0.0.0:8000, [::]:8000 or unix:/run/app.sock, with commas between them`,
		"STABLEHAND_ENV_FILE=/etc/app.env":  `STABLEHAND_ENV_FILE="/etc/app.env": it needs STABLEHAND_BIND, without which a new gunicorn has the environment of the one before it`,
		"STABLEHAND_BIND=127.0.0.1:0,:8000": `STABLEHAND_BIND="127.0.0.1:0,:8000": want addresses, such as 0.0.0.0:8000, [::]:8000 or unix:/run/app.sock, with commas between them`,
	} {
		if _, errs := ReadConfig([]string{environ}); len(errs) != 1 || errs[0].Error() != want {
			t.Errorf("%s: %v, want %s", environ, errs, want)
		}
	}
}

func TestConfigTellsAllErrorsAtOnce(t *testing.T) {
	_, errs := ReadConfig([]string{
		"STABLEHAND_DEBONCE=1s", "STABLEHAND_HTTP_PORT=80", "STABLEHAND_SOAK=long", "STABLEHAND_JITTER=-1s",
		"STABLEHAND_WATCH=conf.d/[*.yml", "STABLEHAND_APP=app", "STABLEHAND_LOG_LEVEL=loud", "STABLEHAND_LOG_FORMAT=xml", "STABLEHAND_MEMORY=512m", "STABLEHAND_READY_TIMEOUT=0",
	})
	want := []string{
		`STABLEHAND_APP="app": want module:callable, such as app:app or mysite.wsgi:application`,
		`STABLEHAND_DEBONCE: there is no such variable; the nearest is STABLEHAND_DEBOUNCE`,
		`STABLEHAND_HTTP_PORT: there is no such variable; stablehand env lists them`,
		`STABLEHAND_JITTER="-1s": want 0 or a duration such as 250ms, 10s or 2m`,
		`STABLEHAND_LOG_FORMAT="xml": want auto, tint, text or json`,
		`STABLEHAND_LOG_LEVEL="loud": want debug, info, warn or error`,
		`STABLEHAND_MEMORY="512m": want off, warn, wait or shrink`,
		`STABLEHAND_READY_TIMEOUT="0": want a duration of at least 1ms, such as 250ms, 10s or 2m`,
		`STABLEHAND_SOAK="long": want 0 or a duration such as 250ms, 10s or 2m`,
		`STABLEHAND_WATCH="conf.d/[*.yml": want paths or names, in which * ? and [a-z] match others; write \[ for a bracket that stands for itself`,
	}
	var got []string
	for _, err := range errs {
		got = append(got, err.Error())
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestConfigTakesListsByCommasAlone(t *testing.T) {
	for value, right := range map[string]bool{
		"/etc/a,/etc/b": true, "/etc/a, /etc/b": true, "/etc/my app/a": true, "C:x": true, "a,/b": true,
		"/etc/a:/etc/b": false, "/etc/a /etc/b": false, "/etc/a;/etc/b": false, `"/etc/a"`: false, "'a','b'": false,
	} {
		if _, errs := ReadConfig([]string{"STABLEHAND_WATCH=" + value}); (len(errs) == 0) != right {
			t.Errorf("STABLEHAND_WATCH=%s: %v", value, errs)
		}
	}
}

func TestConfigTakesAppsAsGunicornDoes(t *testing.T) {
	for value, right := range map[string]bool{
		"app:app": true, "my.site.wsgi:application": true, `app:create("a b", debug=True)`: true,
		"app": false, "my.site.wsgi": false, "app:": false, ":app": false, "app:app -w 2": false, "'app:app'": false,
	} {
		if _, errs := ReadConfig([]string{"STABLEHAND_APP=" + value}); (len(errs) == 0) != right {
			t.Errorf("STABLEHAND_APP=%s: %v", value, errs)
		}
	}
}

func TestConfigTakesProbesWithoutWhatIsNotSent(t *testing.T) {
	for value, right := range map[string]bool{
		"http://localhost/healthz": true, "https://example.org:8443/a?b=c": true, "http://[::1]": true,
		"localhost/healthz": false, "http:///healthz": false, "unix:/run/app.sock": false, "http://a/#b": false,
	} {
		if _, errs := ReadConfig([]string{"STABLEHAND_PROBE=" + value}); (len(errs) == 0) != right {
			t.Errorf("STABLEHAND_PROBE=%s: %v", value, errs)
		}
	}
	for value, shown := range map[string]string{
		"http://me:secret@localhost/": "http://me:…@localhost/",
		"http://localhost/?t=secret#": "http://localhost/?…#",
		"htp://localhost/a?t=secret":  "htp://localhost/a?…",
	} {
		_, errs := ReadConfig([]string{"STABLEHAND_PROBE=" + value})
		want := `STABLEHAND_PROBE="` + shown + `": want a URL without user and fragment, such as http://localhost/healthz or https://example.org/healthz`
		if len(errs) != 1 || errs[0].Error() != want {
			t.Errorf("%v, want %s", errs, want)
		}
	}
}

// Kubernetes puts such variables into every pod beside a Service that is
// named stablehand or stablehand-web.
func TestConfigLetsKubernetesServiceLinksBe(t *testing.T) {
	_, errs := ReadConfig([]string{
		"STABLEHAND_SERVICE_HOST=10.0.0.1", "STABLEHAND_SERVICE_PORT=80", "STABLEHAND_SERVICE_PORT_HTTP=80",
		"STABLEHAND_PORT=tcp://10.0.0.1:80", "STABLEHAND_PORT_80_TCP=tcp://10.0.0.1:80",
		"STABLEHAND_PORT_80_TCP_PROTO=tcp", "STABLEHAND_PORT_80_TCP_PORT=80", "STABLEHAND_PORT_80_TCP_ADDR=10.0.0.1",
		"STABLEHAND_WEB_SERVICE_HOST=10.0.0.1", "STABLEHAND_WEB_PORT_80_UDP_ADDR=10.0.0.1",
	})
	if len(errs) > 0 {
		t.Error(errs)
	}
}

func TestReferenceShowsEachVariable(t *testing.T) {
	const page = "../docs/reference/environment.md"
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	c, _ := ReadConfig(nil)
	var rows strings.Builder
	for _, v := range c.Variables() {
		fmt.Fprintf(&rows, "| %s | %s | %s |\n", code(v.Name), code(v.Default), strings.ReplaceAll(v.Meaning, "|", `\|`))
	}
	if !strings.Contains(string(text), "| --- | --- | --- |\n"+rows.String()+"\n") {
		t.Errorf("%s is to have these rows, and no other:\n%s", page, &rows)
	}
}

func code(s string) string {
	if s == "" {
		return ""
	}
	return "`" + s + "`"
}
