package gunicorn

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"
)

func TestLogsAreWhereTheErrorLogIs(t *testing.T) {
	for _, version := range []string{"20.1.0", "23.0.0", "27.0.1"} {
		t.Run(version, func(t *testing.T) {
			m, socket := serve(t, version, "--error-logfile=error.log", "--access-logfile=access.log", "--workers=1")
			dir := filepath.Dir(socket)
			want := []string{filepath.Join(dir, "log"), filepath.Join(dir, "error.log"), filepath.Join(dir, "access.log")}
			if logs := m.Logs(); !slices.Equal(logs, want) { // the first is its output
				t.Errorf("%v, want %v", logs, want)
			}
			if m.Preloads() {
				t.Error("it is taken to preload its application")
			}
		})
	}
}

func TestPreloadsByItsWords(t *testing.T) {
	for _, version := range []string{"20.1.0", "27.0.1"} {
		for _, word := range []string{"--preload", "--pre"} {
			t.Run(fmt.Sprintf("%s/%s", version, word), func(t *testing.T) {
				if m, _ := serve(t, version, word, "--workers=1"); !m.Preloads() {
					t.Error("it is not known to preload its application")
				}
			})
		}
	}
}

func TestPreloadsByItsEnvironment(t *testing.T) {
	t.Setenv("GUNICORN_CMD_ARGS", "--max-requests=20 --preload")
	if m, _ := serve(t, "27.0.1", "--workers=1"); !m.Preloads() {
		t.Error("it is not known to preload its application")
	}
}
