package entrypoint

import "testing"

func TestAVariableHidesWhatItsValueMayHideInIt(t *testing.T) {
	for app, want := range map[App]string{"app:create('x', key='secret')": "app:create(…)", "app:create()": "app:create()", "app:app": "app:app"} {
		if got := (Config{App: app}).Variables()[0]; got.Name != "STABLEHAND_APP" || got.Value != want {
			t.Errorf("%s is shown as %v", app, got)
		}
	}
	if got := Differing(Config{App: "app:create(1)"}, Config{App: "app:create(2)"}); len(got) != 1 || !got["STABLEHAND_APP"] {
		t.Errorf("hidden values differ, got %v", got)
	}
	if got := Differing(Config{App: "app:create(1)"}, Config{App: "app:create(1)"}); len(got) != 0 {
		t.Errorf("nothing differs, got %v", got)
	}
}

func TestShownHidesValues(t *testing.T) {
	for _, test := range []struct {
		argv []string
		want string
	}{
		{[]string{"gunicorn", "app:app", "-w", "2", "--bind=:80"}, "gunicorn app:app -w 2 --bind=:80"},
		{[]string{"gunicorn", "-e", "A=b c", "--env", "my-name=b", "--env=A=b", "-eA=b", "-ReA=b"}, "gunicorn -e A=… --env my-name=… --env=A=… -eA=… -ReA=…"},
		{[]string{"gunicorn", "-eA.B=b", "app:create(name='x', y='a b')"}, `gunicorn -eA.B=… app:create\(…\)`},
		{[]string{"gunicorn", "app:create()"}, `gunicorn app:create\(\)`},
		{[]string{"env", "-SA=b c", "-vS", "D=e"}, "env -SA=… -vS D=…"},
		{[]string{"sh", "-c", "A+=b; exec gunicorn x:y"}, "sh -c 'A+=…; exec gunicorn x:y'"},
		{[]string{"wait", "redis://:a/b@host"}, "wait redis://:…@host"},
		{[]string{"env", "A=b", "C=", "sh"}, "env A=… C= sh"},
		{[]string{"sh", "-c", "A=b; exec gunicorn -e 'B=c d' x:y"}, "sh -c 'A=…; exec gunicorn -e B=… x:y'"},
		{[]string{"sh", "-c", `A="b c" sh -c "B='c d' gunicorn"`}, `sh -c 'A=… sh -c '\''B=… gunicorn'\'`},
		{[]string{"sh", "-lc", "A=$(cat secret) x"}, "sh -lc 'A=…(cat secret) x'"},
		{[]string{"sh", "-c", "if [ $a = b ]; then exec x; fi"}, "sh -c 'if [ $a = b ]; then exec x; fi'"},
		{[]string{"wait", "postgres://me:secret@db/name", "http://a/b:c@d"}, "wait postgres://me:…@db/name http://a/b:c@d"},
	} {
		if got := Shown(test.argv); got != test.want {
			t.Errorf("%q:\n got %s\nwant %s", test.argv, got, test.want)
		}
	}
}
