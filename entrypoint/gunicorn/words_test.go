package gunicorn

import (
	"path"
	"slices"
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
		{argv: []string{"gunicorn", "-c", "conf.py", "app:app"}, want: Words{Named: true, Config: "conf.py"}},
		{argv: []string{"gunicorn", "-cconf.py", "app:app"}, env: "--config=env.py", want: Words{Named: true, Config: "conf.py"}},
		{argv: []string{"gunicorn", "app:app"}, env: "--config 'e v.py'", want: Words{Named: true, Config: "e v.py"}},
		{argv: []string{"gunicorn", "-b", ":80", "app:app"}, want: Words{Named: true, Bind: "-b :80"}},
		{argv: []string{"gunicorn", "-b:80", "app:app"}, want: Words{Named: true, Bind: "-b:80"}},
		{argv: []string{"gunicorn", "--bind=:80", "app:app"}, want: Words{Named: true, Bind: "--bind=:80"}},
		{argv: []string{"gunicorn", "app:app"}, env: "--bind :80", want: Words{Named: true, Bind: "--bind :80"}},
		{argv: []string{"gunicorn", "--reload", "app:app"}, want: Words{Named: true, Reload: true}},
		{argv: []string{"gunicorn", "app:app"}, env: "-w 2 --reload", want: Words{Named: true, Reload: true}},
		{argv: []string{"sh", "-c", "exec gunicorn --reload app:app"}, want: Words{Named: true, Reload: true}},
		{argv: []string{"gunicorn", "--reload-engine=poll", "--reload-extra-file", "x", "--reloa", "--", "--reload"}, want: Words{Named: true}},
		{argv: []string{"gunicorn", "app:app", "--p"}, want: Words{Named: true}},
		{argv: []string{"python", "-m", "gunicorn", "-D"}, want: Words{Named: true, Daemon: "-D"}},
		{argv: []string{"python3.11", "-m", "gunicorn.app.wsgiapp", "app:app"}, want: Words{Named: true}},
		{argv: []string{"python3", "-mgunicorn.app.wsgiapp", "app:app", "-p", "x"}, want: Words{Named: true, Pidfile: "x"}},
		{argv: []string{"sh", "-c", "exec python3 -m gunicorn.app.wsgiapp app:app -p x"}, want: Words{Named: true, Pidfile: "x"}},
		{argv: []string{"sh", "-c", "python3 -m gunicorn.app.other app:app"}},
		{argv: []string{"coverage", "run", "-m", "gunicorn.app.wsgiapp", "-p", "x"}, want: Words{Named: true, Pidfile: "x"}},
		{argv: []string{"ddtrace-run", "gunicorn", "-p", "x", "app:app"}, want: Words{Named: true, Pidfile: "x"}},
		{argv: []string{"sh", "-c", "migrate && exec gunicorn app:app --pid 'a b'"}, want: Words{Named: true, Pidfile: "a b"}},
		{argv: []string{"sh", "-c", "gunicorn -p x app:app; rm -D"}, want: Words{Named: true, Pidfile: "x"}},
		{argv: []string{"sh", "-c", "gunicorn --check-config -p x app:app && exec gunicorn -p y app:app"}, want: Words{Named: true, Pidfile: "y"}},
		{argv: []string{"sh", "-c", "gunicorn --check-config -p x app:app"}, want: Words{Named: true, Pidfile: "x"}},
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

func TestEnvMaySetGunicornsVariable(t *testing.T) {
	for _, test := range []struct {
		argv []string
		want string
	}{
		{[]string{"gunicorn", "app:app"}, "-w2"},
		{[]string{"env", "A=b", "GUNICORN_CMD_ARGS=--pid x", "gunicorn", "app:app"}, "--pid x"},
		{[]string{"env", "GUNICORN_CMD_ARGS=", "python", "-m", "gunicorn"}, ""},
		{[]string{"gunicorn", "--env", "GUNICORN_CMD_ARGS=-w3", "app:app"}, "-w2"},
	} {
		if got := CmdArgs(test.argv, "-w2"); got != test.want {
			t.Errorf("%q: %q, want %q", test.argv, got, test.want)
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

func TestAModuleIsRunSoThatItsSuccessorsFindPythonsOwn(t *testing.T) {
	for _, test := range []struct{ argv, want []string }{
		{[]string{"python", "-m", "gunicorn", "app:app"}, []string{"python", "-m", "gunicorn.app.wsgiapp", "app:app"}},
		{[]string{"/venv/bin/python3.12", "-mgunicorn"}, []string{"/venv/bin/python3.12", "-mgunicorn.app.wsgiapp"}},
		{[]string{"env", "python3", "-W", "ignore", "-um", "gunicorn"}, []string{"env", "python3", "-W", "ignore", "-um", "gunicorn.app.wsgiapp"}},
		{[]string{"gunicorn", "app:app"}, nil},
		{[]string{"python", "-m", "gunicorn.app.wsgiapp"}, nil},
		{[]string{"python", "-m", "flask", "-m", "gunicorn"}, nil},
		{[]string{"python", "manage.py", "-m", "gunicorn"}, nil},
		{[]string{"sh", "-c", "python -m gunicorn app:app"}, nil}, // its words are the shell's
		{[]string{"python", "-m"}, nil},
		{nil, nil},
	} {
		want := test.want
		if want == nil {
			want = test.argv
		}
		given := slices.Clone(test.argv)
		if diff := cmp.Diff(want, Lasting(test.argv)); diff != "" {
			t.Errorf("%q (-want +got):\n%s", test.argv, diff)
		}
		if diff := cmp.Diff(given, test.argv); diff != "" {
			t.Errorf("%q was changed (-want +got):\n%s", given, diff)
		}
		if test.want != nil && !ReadWords(test.want, "").Named {
			t.Errorf("%q does not name gunicorn", test.want)
		}
		if test.want != nil && !isGunicorn(test.want[slices.IndexFunc(test.want, isPython):]) {
			t.Errorf("%q is not known for gunicorn", test.want)
		}
	}
}

func isPython(word string) bool { return python().MatchString(path.Base(word)) }
