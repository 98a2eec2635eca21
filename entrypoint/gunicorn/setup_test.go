package gunicorn

import "testing"

func TestTextOfASettingIsReadOnlyWhereItIsPlain(t *testing.T) {
	for config, want := range map[string]string{
		"pidfile = \"run/pid\"\n":                   "run/pid",
		"pidfile='/run/pid'  # ours\n":              "/run/pid",
		"pidfile = '/run/pid'\npidfile = None\n":    "",
		"pidfile = os.environ['PIDFILE']\n":         "",
		"pidfile = f'/run/{name}' + '.pid'\n":       "",
		`pidfile = "a\x62c"` + "\n":                 "",
		"if DEBUG:\n    pidfile = '/run/pid'\n":     "",
		"workers = 1\n# pidfile = '/run/pid'\n":     "",
		"pidfile = '/run/\"pid'\nworkers = 'two'\n": `/run/"pid`,
	} {
		if got := textOf(lastWord(config, "pidfile")); got != want {
			t.Errorf("%q: %q, want %q", config, got, want)
		}
	}
}

func TestConfigurationTurnsOnOnlyWhereItIsCertain(t *testing.T) {
	for config, want := range map[string]bool{
		"reload = True\n":                       true,
		"workers = 2\nreload=True # always\r\n": true,
		"reload = False\nreload = True":         true,
		"":                                      false,
		"reload = True\nreload = False\n":       false,
		"reload = DEBUG\n":                      false,
		"# reload = True\n":                     false,
		"if DEBUG:\n    reload = True\n":        false,
		"reload_engine = True\n":                false,
	} {
		if got := turnsOn(config, "reload"); got != want {
			t.Errorf("%q: %t, want %t", config, got, want)
		}
	}
}
