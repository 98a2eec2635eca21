package entrypoint

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

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
		Retry:        10 * time.Second,
		LogFormat:    "auto",
	}
	if diff := cmp.Diff(want, c); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestConfigReadsEachVariable(t *testing.T) {
	c, errs := ReadConfig([]string{
		"STABLEHAND_APP=app:app", "STABLEHAND_WATCH=/etc/app,/srv/app.py", "STABLEHAND_WATCH_IGNORE=*.log",
		"STABLEHAND_WATCH_POLL=8s", "STABLEHAND_DEBOUNCE=1s", "STABLEHAND_READY_TIMEOUT=2s", "STABLEHAND_SOAK=3s", "STABLEHAND_JITTER=4s",
		"STABLEHAND_RETRY=0", "STABLEHAND_STOP_DELAY=6s", "STABLEHAND_STOP_TIMEOUT=7s",
		"STABLEHAND_LOG_LEVEL=warn", "STABLEHAND_LOG_FORMAT=json",
	})
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	want := Config{
		App: "app:app", Watch: []string{"/etc/app", "/srv/app.py"}, WatchIgnore: []string{"*.log"},
		WatchPoll: 8 * time.Second, Debounce: time.Second, ReadyTimeout: 2 * time.Second, Soak: 3 * time.Second, Jitter: 4 * time.Second,
		Retry: 0, StopDelay: 6 * time.Second, StopTimeout: 7 * time.Second,
		LogLevel: 4, LogFormat: "json",
	}
	if diff := cmp.Diff(want, c); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestConfigTellsAllErrorsAtOnce(t *testing.T) {
	_, errs := ReadConfig([]string{
		"STABLEHAND_DEBONCE=1s", "STABLEHAND_HTTP_PORT=80", "STABLEHAND_SOAK=long", "STABLEHAND_JITTER=-1s",
		"STABLEHAND_WATCH=conf.d/[*.yml", "STABLEHAND_APP=app", "STABLEHAND_LOG_LEVEL=loud", "STABLEHAND_LOG_FORMAT=xml", "STABLEHAND_READY_TIMEOUT=0",
	})
	want := []string{
		`STABLEHAND_APP="app": want module:callable, such as app:app or mysite.wsgi:application`,
		`STABLEHAND_DEBONCE: there is no such variable; the nearest is STABLEHAND_DEBOUNCE`,
		`STABLEHAND_HTTP_PORT: there is no such variable; stablehand env lists them`,
		`STABLEHAND_JITTER="-1s": want 0 or a duration such as 250ms, 10s or 2m`,
		`STABLEHAND_LOG_FORMAT="xml": want auto, tint, text or json`,
		`STABLEHAND_LOG_LEVEL="loud": want debug, info, warn or error`,
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

func TestReadmeShowsEachVariable(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	c, _ := ReadConfig(nil)
	for _, v := range c.Variables() {
		row := "| " + strings.TrimPrefix(v.Name, Prefix) + " | " + code(v.Default) + " | " + strings.ReplaceAll(v.Meaning, "|", `\|`) + " |"
		if !strings.Contains(string(readme), row+"\n") {
			t.Errorf("README.md lacks the row\n%s", row)
		}
	}
}

func code(s string) string {
	if s == "" {
		return ""
	}
	return "`" + s + "`"
}
