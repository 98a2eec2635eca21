package entrypoint

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestReadCommand(t *testing.T) {
	app := Config{App: "app:app"}
	watching := Config{Watch: []string{"/etc/app"}}
	for _, test := range []struct {
		words []string
		c     Config
		want  Command
	}{
		{nil, Config{}, Command{Argv: []string{"gunicorn"}, Named: true, Managed: true}},
		{nil, app, Command{Argv: []string{"gunicorn", "app:app"}, Named: true, Managed: true}},
		{[]string{"app:app", "-w", "2"}, Config{}, Command{Argv: []string{"gunicorn", "app:app", "-w", "2"}, Named: true, Managed: true}},
		{[]string{"-w", "2", "app:app"}, app, Command{Argv: []string{"gunicorn", "-w", "2", "app:app"}, Named: true, Managed: true}},
		{[]string{"gunicorn", "-p", "x", "app:app"}, Config{}, Command{Argv: []string{"gunicorn", "-p", "x", "app:app"}, Named: true, Managed: true, Pidfile: "x"}},
		{[]string{"bash"}, app, Command{Argv: []string{"bash"}}},
		{[]string{"python", "manage.py", "migrate"}, Config{}, Command{Argv: []string{"python", "manage.py", "migrate"}}},
		{[]string{"--", "-odd"}, Config{}, Command{Argv: []string{"-odd"}}},
		{[]string{"--", "reload"}, Config{}, Command{Argv: []string{"reload"}}},
		{[]string{"no_such_site.wsgi", "--bind=:80"}, Config{}, Command{Argv: []string{"gunicorn", "no_such_site.wsgi", "--bind=:80"}, Named: true, Managed: true, Binds: "--bind=:80"}},
		{[]string{"./site.wsgi"}, Config{}, Command{Argv: []string{"./site.wsgi"}}},
		{[]string{"no_such_site.settings"}, Config{}, Command{Argv: []string{"no_such_site.settings"}}},
		{[]string{"./entrypoint.sh"}, watching, Command{Argv: []string{"./entrypoint.sh"}, Managed: true}},
	} {
		got, err := ReadCommand(test.words, test.c, nil)
		if err != nil {
			t.Errorf("%q: %v", test.words, err)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", test.words, diff)
		}
	}
}

func TestReadCommandRefusesInOneClearLine(t *testing.T) {
	for _, test := range []struct {
		words  []string
		env    string
		reason string
	}{
		{[]string{"--"}, "", "no command after --: give one, such as stablehand -- gunicorn app:app"},
		{[]string{""}, "", "the first word is empty: give a command, such as gunicorn app:app, or none at all"},
		{[]string{"app:app", "-D"}, "", "-D makes gunicorn leave the container's foreground, where stablehand can look after it: remove it"},
		{[]string{"app:app", "-DeA=b"}, "", "-DeA=… makes gunicorn leave the container's foreground, where stablehand can look after it: remove it"},
		{[]string{"app:app"}, "--reload", "--reload has gunicorn's workers end themselves when a file is saved, and one with an error in it ends the container: remove it, and name what matters in STABLEHAND_WATCH, such as STABLEHAND_WATCH=**/*.py"},
		{[]string{"A=b", "gunicorn"}, "", "A=… stands before the command, where only a shell takes it for a variable: set it in the container's environment"},
		{[]string{"--", "A=b", "gunicorn"}, "", "A=… stands before the command, where only a shell takes it for a variable: set it in the container's environment"},
		{[]string{"app:app"}, "--daemon", "--daemon makes gunicorn leave the container's foreground, where stablehand can look after it: remove it"},
	} {
		_, err := ReadCommand(test.words, Config{}, []string{"GUNICORN_CMD_ARGS=" + test.env})
		if err == nil || err.Error() != test.reason {
			t.Errorf("%q, GUNICORN_CMD_ARGS=%q: error %v, want %s", test.words, test.env, err, test.reason)
		}
	}
}
