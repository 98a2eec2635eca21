package gunicorn

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestReadWordsFindsGunicornAndItsOptions(t *testing.T) {
	for _, test := range []struct {
		argv []string
		env  string
		want Words
	}{
		{argv: []string{"gunicorn", "app:app"}, want: Words{Named: true}},
		{argv: []string{"/venv/bin/gunicorn", "--pid", "/run/g.pid", "app:app"}, want: Words{Named: true, Pidfile: "/run/g.pid"}},
		{argv: []string{"gunicorn", "--pid=/run/g.pid", "app:app"}, want: Words{Named: true, Pidfile: "/run/g.pid"}},
		{argv: []string{"gunicorn", "-p", "g.pid", "app:app"}, want: Words{Named: true, Pidfile: "g.pid"}},
		{argv: []string{"gunicorn", "-pg.pid", "--chdir=/srv", "app:app"}, want: Words{Named: true, Pidfile: "g.pid", Chdir: "/srv"}},
		{argv: []string{"gunicorn", "--chdir", "/srv", "app:app"}, want: Words{Named: true, Chdir: "/srv"}},
		{argv: []string{"gunicorn", "app:app"}, env: "--pid '/run/my g.pid'", want: Words{Named: true, Pidfile: "/run/my g.pid"}},
		{argv: []string{"gunicorn", "app:app", "-p", "words"}, env: "-p env", want: Words{Named: true, Pidfile: "words"}},
		{argv: []string{"gunicorn", "app:app", "--daemon"}, want: Words{Named: true, Daemon: "--daemon"}},
		{argv: []string{"gunicorn", "-D", "app:app"}, want: Words{Named: true, Daemon: "-D"}},
		{argv: []string{"gunicorn", "app:app"}, env: "--daemon", want: Words{Named: true, Daemon: "--daemon"}},
		{argv: []string{"gunicorn", "app:app", "--p"}, want: Words{Named: true}},
		{argv: []string{"python", "-m", "gunicorn", "-D"}, want: Words{Named: true, Daemon: "-D"}},
		{argv: []string{"python3.11", "-m", "gunicorn.app.wsgiapp", "app:app"}, want: Words{Named: true}},
		{argv: []string{"ddtrace-run", "gunicorn", "-p", "x", "app:app"}, want: Words{Named: true, Pidfile: "x"}},
		{argv: []string{"sh", "-c", "migrate && exec gunicorn app:app --pid 'a b'"}, want: Words{Named: true, Pidfile: "a b"}},
		{argv: []string{"sh", "-c", "gunicorn -p x app:app; rm -D"}, want: Words{Named: true, Pidfile: "x"}},
		{argv: []string{"sh", "-c", "(/venv/bin/gunicorn -p x)"}, want: Words{Named: true, Pidfile: "x"}},
		{argv: []string{"sh", "-c", "gunicorn $OPTIONS app:app || exit 1"}, want: Words{Named: true}},
		{argv: []string{"sh", "-c", "echo gunicorn.conf.py mygunicorn"}},
		{argv: []string{"vim", "gunicorn.conf.py"}},
		{argv: []string{"python", "manage.py", "migrate", "-D"}},
		{argv: []string{"./start-gunicorn"}},
	} {
		if diff := cmp.Diff(test.want, ReadWords(test.argv, test.env)); diff != "" {
			t.Errorf("%q, GUNICORN_CMD_ARGS=%q (-want +got):\n%s", test.argv, test.env, diff)
		}
	}
}

func TestRelativePidfileIsBelowChdir(t *testing.T) {
	for want, w := range map[string]Words{
		"":             {Chdir: "/srv"},
		"g.pid":        {Pidfile: "g.pid"},
		"/srv/g.pid":   {Pidfile: "g.pid", Chdir: "/srv"},
		"/run/the.pid": {Pidfile: "/run/the.pid", Chdir: "/srv"},
	} {
		if got := w.PidfilePath(); got != want {
			t.Errorf("%+v: %q, want %q", w, got, want)
		}
	}
}
