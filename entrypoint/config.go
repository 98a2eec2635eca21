package entrypoint

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path"
	"reflect"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/agext/levenshtein"
	"github.com/sethvargo/go-envconfig"

	"github.com/stablehand/stablehand/entrypoint/life"
	"github.com/stablehand/stablehand/entrypoint/sockets"
	"github.com/stablehand/stablehand/entrypoint/systemd"
	"github.com/stablehand/stablehand/entrypoint/watch"
	"github.com/stablehand/stablehand/internal/pattern"
)

// Prefix begins the name of every variable that is stablehand's.
const Prefix = "STABLEHAND_"

// Config is what stablehand is told by its environment. It is the one source
// of the variables' names, defaults and meanings: of what `stablehand env`
// prints, and of the table in docs/reference/environment.md.
type Config struct {
	App          App           `env:"APP" want:"module:callable, such as app:app or mysite.wsgi:application" help:"module:callable, where no words are given"`
	Bind         Addresses     `env:"BIND" want:"addresses, such as 0.0.0.0:8000, [::]:8000 or unix:/run/app.sock, with commas between them" help:"comma-separated addresses that stablehand opens itself, host:port, [::]:port or unix:/path, and hands to each generation, which is begun afresh; if not set, gunicorn opens its own, and hands over by USR2"`
	EnvFile      []string      `env:"ENV_FILE" help:"with BIND: comma-separated files of NAME=value lines, or directories with a file for each variable; read for each generation, and watched"`
	Watch        []string      `env:"WATCH" help:"comma-separated files, directories (recursive) and globs whose content matters"`
	WatchIgnore  []string      `env:"WATCH_IGNORE, default=*~,#*#,.#*,.*.sw?,4913,___jb_*___,.goutput*,.nfs*,.DS_Store,.git,.hg,.svn,.jj,__pycache__,*.py[co]" help:"names that never matter inside a watched directory; a value replaces the default"`
	WatchPoll    time.Duration `env:"WATCH_POLL, default=0" help:"also look every so often, for mounts that send no events (NFS, some desktop file sharing); 0 = never"`
	Debounce     time.Duration `env:"DEBOUNCE, default=250ms" help:"the content must have been quiet this long"`
	ReadyTimeout time.Duration `env:"READY_TIMEOUT, default=2m" help:"how long a generation may take to get ready, PROBE included; where gunicorn is not among the words, also to appear before HUP and USR2 are the command's own" min:"1ms"`
	Probe        Probe         `env:"PROBE" want:"a URL without user and fragment, such as http://localhost/healthz or https://example.org/healthz" help:"http://HOST/path or https://HOST/path, asked of each new generation when its workers are ready, until the status of an answer is 2xx or 3xx; HOST is the Host header, and the connection goes to that generation itself"`
	Memory       Memory        `env:"MEMORY, default=warn" want:"off, warn, wait or shrink" help:"before a handoff, where there is no memory for two generations: warn, wait for room until READY_TIMEOUT, or shrink the old generation first, a worker at a time; off: do not look"`
	Soak         time.Duration `env:"SOAK, default=0" help:"both generations serve this long before the old one goes; a worker lost meanwhile rolls back"`
	Drain        time.Duration `env:"DRAIN, default=1s" help:"with BIND: how long an old generation that gets nothing new may hold its connections before TERM"`
	Jitter       time.Duration `env:"JITTER, default=0" help:"wait a random part of this before a handoff that a file change began, so that a fleet does not move at once"`
	Retry        time.Duration `env:"RETRY, default=10s" help:"first pause before a failed handoff is tried again; doubles up to 5m, also for a handoff that was asked for; a new change starts afresh; 0 = never"`
	StopDelay    time.Duration `env:"STOP_DELAY, default=0" help:"keep serving this long after SIGTERM, while load balancers take the pod out"`
	StopTimeout  time.Duration `env:"STOP_TIMEOUT, default=0" help:"then TERM; SIGKILL what is left after this; 0 leaves that to the runtime"`
	Control      string        `env:"CONTROL" help:"socket at which reload, status and healthcheck talk to it; if not set, one of its own in a private directory: $XDG_RUNTIME_DIR/stablehand, /run/stablehand or one in /tmp"`
	HTTP         Address       `env:"HTTP" want:"host:port or :port, such as 127.0.0.1:9090 or :9090" help:"address for /livez, /readyz and /metrics, such as :9090; off if not set"`
	LogLevel     slog.Level    `env:"LOG_LEVEL, default=info" want:"debug, info, warn or error" help:"debug, info, warn or error"`
	LogFormat    LogFormat     `env:"LOG_FORMAT, default=auto" want:"auto, tint, text or json" help:"auto: tint on a terminal, logfmt text otherwise; also tint, text, json"`
}

// App is an application as gunicorn takes it, but never without its callable.
type App string

var app = pattern.New(`^[^\s:'"()]+:[^\s:'"()]+(\(.*\))?$`)

// UnmarshalText takes nothing, or module:callable, which may be a call.
func (a *App) UnmarshalText(text []byte) error {
	if len(text) > 0 && !app().Match(text) {
		return errors.New("no module:callable")
	}
	*a = App(text)
	return nil
}

// Memory is what is done where there is no memory for two generations.
type Memory life.Room

// UnmarshalText takes one of those that there are.
func (m *Memory) UnmarshalText(text []byte) error {
	switch room := life.Room(text); room {
	case life.Off, life.Warn, life.Wait, life.Shrink:
		*m = Memory(room)
		return nil
	}
	return fmt.Errorf("no %q is known", text)
}

// Addresses are where stablehand listens for its generations.
type Addresses []sockets.Address

// UnmarshalText takes nothing, or addresses with commas between them.
func (a *Addresses) UnmarshalText(text []byte) error {
	*a = nil
	for word := range strings.SplitSeq(string(text), ",") {
		if word = strings.TrimSpace(word); word == "" {
			continue
		}
		address, err := sockets.ParseAddress(word)
		if err != nil {
			return err
		}
		*a = append(*a, address)
	}
	return nil
}

// String is the addresses as they are written.
func (a Addresses) String() string {
	var words []string
	for _, address := range a {
		words = append(words, address.String())
	}
	return strings.Join(words, ",")
}

// Address is where to listen: host:port, or :port for every address.
type Address string

// UnmarshalText takes nothing, or a host, which may be empty, and a port.
func (a *Address) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		return nil
	}
	_, port, err := net.SplitHostPort(string(text))
	if err != nil {
		return err
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return err
	}
	*a = Address(text)
	return nil
}

// Variable is one variable of the environment, as it is shown to people.
type Variable struct{ Name, Value, Default, Meaning string }

// ReadConfig reads the variables in environ, entries of the form NAME=value.
// An empty value counts as none. The errors, one for each variable that is
// wrong or unknown, say what would be right.
func ReadConfig(environ []string) (Config, []error) {
	var c Config
	values := make(map[string]string)
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		if key, ours := strings.CutPrefix(name, Prefix); ours && value != "" {
			values[key] = value
		}
	}
	var errs []error
	for i, field := range fields {
		if err := readField(reflect.ValueOf(&c).Elem().Field(i), field, values); err != nil {
			errs = append(errs, err)
		}
		delete(values, key(field))
	}
	if len(c.EnvFile) > 0 && len(c.Bind) == 0 && len(errs) == 0 {
		errs = append(errs, fmt.Errorf("%sENV_FILE=%q: it needs %[1]sBIND, without which a new gunicorn has the environment of the one before it", Prefix, strings.Join(c.EnvFile, ",")))
	}
	for name, value := range values {
		if !kubernetesLink(name, value) {
			errs = append(errs, fmt.Errorf("%s%s: there is no such variable; %s", Prefix, name, nearest(name)))
		}
	}
	sort.Slice(errs, func(i, j int) bool { return errs[i].Error() < errs[j].Error() })
	return c, errs
}

// fields are the Config's, and so the variables, in the order of the table.
var fields = reflect.VisibleFields(reflect.TypeFor[Config]())

func key(field reflect.StructField) string {
	name, _, _ := strings.Cut(field.Tag.Get("env"), ",")
	return name
}

func defaultOf(field reflect.StructField) string {
	_, value, _ := strings.Cut(field.Tag.Get("env"), "default=")
	return value
}

var (
	serviceLink = pattern.New(`(^|_)(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT_\d+_(TCP|UDP|SCTP)_(PROTO|PORT|ADDR))$`)
	serviceURL  = pattern.New(`^(tcp|udp|sctp)://`)
)

// kubernetesLink says whether a variable is one of those that Kubernetes puts
// into the environment of every pod for a Service that happens to be named
// stablehand or stablehand-….
func kubernetesLink(name, value string) bool {
	return serviceLink().MatchString(name) || serviceURL().MatchString(value)
}

// readField reads one variable into its field. go-envconfig stops at its
// first error, and all of them are to be told at once: so each variable is
// read as a struct of its own.
func readField(into reflect.Value, field reflect.StructField, values map[string]string) error {
	one := reflect.New(reflect.StructOf([]reflect.StructField{field}))
	err := envconfig.ProcessWith(context.Background(), &envconfig.Config{
		Target:   one.Interface(),
		Lookuper: envconfig.MapLookuper(values),
	})
	value := one.Elem().Field(0)
	if d, ok := value.Interface().(time.Duration); ok && err == nil && d < least(field) {
		err = fmt.Errorf("less than %v", least(field))
	}
	if patterns, ok := value.Interface().([]string); ok && err == nil {
		for _, p := range patterns {
			if _, bad := path.Match(p, ""); bad != nil {
				err = bad
			}
		}
	}
	want := wanted(field)
	switch text := values[key(field)]; {
	case quoted().MatchString(text):
		want, err = "it without the quotes", errors.New("quoted")
	case field.Type == reflect.TypeFor[[]string]() && otherwiseSplit().MatchString(text):
		want, err = "commas between paths", errors.New("not split by commas")
	}
	if err != nil {
		return fmt.Errorf("%s%s=%q: want %s", Prefix, key(field), shownValue(values[key(field)]), want)
	}
	into.Set(value)
	return nil
}

var (
	// quoted is a value as it would stand in a shell: docker --env-file, say,
	// takes the quotes for a part of it.
	quoted = pattern.New(`^(".*"|'.*')$`)

	// otherwiseSplit is a list that was split as PATH is, or at spaces.
	otherwiseSplit = pattern.New(`[^,:;\s][:;\s]+/`)
)

// least is the smallest duration that a field may have.
func least(field reflect.StructField) time.Duration {
	d, _ := time.ParseDuration(field.Tag.Get("min"))
	return d
}

// wanted says what a right value looks like.
func wanted(field reflect.StructField) string {
	if text, ok := field.Tag.Lookup("want"); ok {
		return text
	}
	if field.Type == reflect.TypeFor[[]string]() {
		return `paths or names, in which * ? and [a-z] match others; write \[ for a bracket that stands for itself`
	}
	if d := least(field); d > 0 {
		return fmt.Sprintf("a duration of at least %v, such as 250ms, 10s or 2m", d)
	}
	return "0 or a duration such as 250ms, 10s or 2m"
}

// nearest says which known name a mistaken one most likely stands for.
func nearest(name string) string {
	distance := func(field reflect.StructField) int { return levenshtein.Distance(name, key(field), nil) }
	field := slices.MinFunc(fields, func(a, b reflect.StructField) int { return distance(a) - distance(b) })
	if distance(field) > len(name)/2 {
		return "stablehand env lists them"
	}
	return "the nearest is " + Prefix + key(field)
}

// WatchOptions are what package watch is told.
func (c Config) WatchOptions(log *slog.Logger) watch.Options {
	return watch.Options{Paths: c.watched(), Ignore: c.WatchIgnore, Debounce: c.Debounce, Poll: c.WatchPoll, Log: log}
}

// watched are the paths whose content matters.
func (c Config) watched() []string {
	paths := slices.Clone(c.Watch)
	for _, path := range c.EnvFile {
		paths = append(paths, watch.Literal(path))
	}
	return paths
}

// settings are what package life is told.
func (c Config) settings() life.Settings {
	return life.Settings{
		ReadyTimeout: c.ReadyTimeout, Soak: c.Soak, Jitter: c.Jitter, Retry: c.Retry, Drain: c.Drain, Room: life.Room(c.Memory),
		StopDelay: c.StopDelay, StopTimeout: c.StopTimeout,
		Watched: len(c.watched()) > 0, Watchdog: systemd.WatchdogEvery(),
	}
}

// Variables lists what is in force, in the order of the table. Of a value that may hold
// a secret this is hidden: see [Shown].
func (c Config) Variables() []Variable {
	var list []Variable
	for i, field := range fields {
		list = append(list, Variable{
			Name:    Prefix + key(field),
			Value:   shownValue(show(reflect.ValueOf(c).Field(i).Interface())),
			Default: defaultOf(field),
			Meaning: field.Tag.Get("help"),
		})
	}
	return list
}

// Differing names the variables that have another value in one than in the other, also
// where that is hidden.
func Differing(one, other Config) map[string]bool {
	names := make(map[string]bool)
	for i, field := range fields {
		if show(reflect.ValueOf(one).Field(i).Interface()) != show(reflect.ValueOf(other).Field(i).Interface()) {
			names[Prefix+key(field)] = true
		}
	}
	return names
}

func show(value any) string {
	switch value := value.(type) {
	case []string:
		return strings.Join(value, ",")
	case slog.Level:
		return strings.ToLower(value.String())
	case time.Duration: // 2m, not 2m0s
		if value == 0 {
			return "0"
		}
		return regexp.MustCompile(`([hm])0[ms](0s)?$`).ReplaceAllString(value.String(), "$1")
	}
	return fmt.Sprint(value)
}
