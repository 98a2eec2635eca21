package gunicorn

import (
	"testing"

	"github.com/stablehand/stablehand/internal/proc"
)

func TestWhatStandsBetweenIsInTheWayByWhatItDoes(t *testing.T) {
	leader, member := proc.Info{PID: 7, Group: 7}, proc.Info{PID: 7, Group: 3}
	for _, test := range []struct {
		line  []string
		child proc.Info
		want  bool
	}{
		{[]string{"/usr/bin/dumb-init", "gunicorn", "app:app"}, leader, true},
		{[]string{"dumb-init", "--single-child", "gunicorn", "app:app"}, member, false},
		{[]string{"s6-supervise", "service"}, leader, true},
		{[]string{"runsv", "service"}, member, true},
		{[]string{"tini", "-g", "--", "gunicorn"}, leader, false},
		{[]string{"sh", "-c", "dumb-init gunicorn"}, leader, false},
		{nil, leader, false},
	} {
		err := hindrance(test.line, test.child)
		if (err != nil) != test.want {
			t.Errorf("%q: %v", test.line, err)
		}
		if err != nil && advice(err) == "" {
			t.Errorf("%q: %v, and no word of what to do", test.line, err)
		}
	}
}
