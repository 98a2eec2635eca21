package gunicorn

import (
	"slices"
	"testing"
)

func TestInheritedSocketsAreHandedOnAsFromAnOldMaster(t *testing.T) {
	env := []string{"A=1", "GUNICORN_FD=9", "GUNICORN_PID=7", "B=2"}
	if got := Inherit(env, nil); !slices.Equal(got, env) {
		t.Errorf("%q without sockets", got)
	}
	want := []string{"A=1", "B=2", "GUNICORN_PID=-1", "GUNICORN_FD=3,4"}
	if got := Inherit(env, []int{3, 4}); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if env[1] != "GUNICORN_FD=9" {
		t.Error("the environment that was given is changed")
	}
}
