package gunicorn

import "testing"

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
