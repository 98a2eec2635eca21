package kubernetes

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
)

// render does what helm install does with the chart before it asks the API server: values
// over those of the chart, held against its schema, and the templates.
func render(release, values string) (string, error) {
	chart, err := loader.Load(filepath.Join(example, "chart"))
	if err != nil {
		return "", err
	}
	given, err := chartutil.ReadValues([]byte(values))
	if err != nil {
		return "", err
	}
	install := chartutil.ReleaseOptions{Name: release, Namespace: "default", Revision: 1, IsInstall: true}
	all, err := chartutil.ToRenderValues(chart, given, install, chartutil.DefaultCapabilities)
	if err != nil {
		return "", err
	}
	files, err := engine.Engine{Strict: true}.Render(chart, all)
	if err != nil {
		return "", err
	}
	var documents []string
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if text := strings.TrimSpace(files[name]); text != "" {
			documents = append(documents, text+"\n")
		}
	}
	return strings.Join(documents, "---\n"), nil
}

// install returns the chart's objects by their kinds. They are admitted.
func install(t *testing.T, release, values string) map[string]runtime.Object {
	t.Helper()
	text, err := render(release, values)
	if err != nil {
		t.Fatal(err)
	}
	objects, err := accept([]byte(text))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return byKind(t, objects)
}

func byKind(t *testing.T, objects []runtime.Object) map[string]runtime.Object {
	t.Helper()
	kinds := map[string]runtime.Object{}
	for _, object := range objects {
		kind := object.GetObjectKind().GroupVersionKind().Kind
		if kinds[kind] != nil {
			t.Fatalf("there is more than one %s", kind)
		}
		kinds[kind] = object
	}
	return kinds
}

// kept is an object as the API server keeps it: with its defaults, and a Secret's
// stringData in its data.
func kept(t *testing.T, object runtime.Object) runtime.Object {
	t.Helper()
	object = object.DeepCopyObject()
	legacyscheme.Scheme.Default(object)
	internal, err := legacyscheme.Scheme.ConvertToVersion(object, runtime.InternalGroupVersioner)
	if err != nil {
		t.Fatal(err)
	}
	return internal
}

func TestTheChartMakesTheObjectsOfTheKustomization(t *testing.T) {
	charted, kustomized := install(t, "app", ""), byKind(t, kustomization(t))
	for kind, want := range kustomized {
		if got := charted[kind]; got == nil {
			t.Errorf("the chart makes no %s", kind)
		} else if want, got := kept(t, want), kept(t, got); !equality.Semantic.DeepEqual(got, want) {
			t.Errorf("the chart's %s is\n%+v\nand the kustomization's\n%+v", kind, got, want)
		}
	}
	for kind := range charted {
		if kustomized[kind] == nil {
			t.Errorf("the kustomization makes no %s", kind)
		}
	}
}

// others are values none of which is the chart's own.
const others = `
image: registry.example/shop:2
application: shop.wsgi:application
replicas: 7
config: "workers = 5\n"
secret: {GREETING: null, COLOUR: "true", EMPTY: ""}
probe: https://shop.example/healthz
jitter: 5m
resources: {requests: {cpu: 1, memory: 1Gi}, limits: {memory: 1Gi}}
`

func TestTheChartTakesEachValue(t *testing.T) {
	objects := install(t, "true", others) // a name that is more than a text in YAML
	if got := objects["ConfigMap"].(*corev1.ConfigMap).Data; !maps.Equal(got, map[string]string{"gunicorn.conf.py": "workers = 5\n"}) {
		t.Errorf("the ConfigMap has %q", got)
	}
	if got := objects["Secret"].(*corev1.Secret).Data; len(got) != 2 || string(got["COLOUR"]) != "true" || len(got["EMPTY"]) != 0 {
		t.Errorf("the Secret has %q", got)
	}
	deployment := objects["Deployment"].(*appsv1.Deployment).Spec
	if *deployment.Replicas != 7 {
		t.Errorf("there are %d replicas", *deployment.Replicas)
	}
	container := deployment.Template.Spec.Containers[0]
	if container.Image != "registry.example/shop:2" {
		t.Errorf("the image is %s", container.Image)
	}
	if got := container.Args[len(container.Args)-1]; got != "shop.wsgi:application" {
		t.Errorf("gunicorn serves %s", got)
	}
	for name, value := range map[string]string{"PROBE": "https://shop.example/healthz", "JITTER": "5m"} {
		if !slices.Contains(container.Env, corev1.EnvVar{Name: "STABLEHAND_" + name, Value: value}) {
			t.Errorf("the environment has %v", container.Env)
		}
	}
	if got := container.Resources; got.Requests.Cpu().String() != "1" || got.Requests.Memory().String() != "1Gi" || got.Limits.Memory().String() != "1Gi" {
		t.Errorf("the resources are %v", got)
	}
	for kind, object := range objects {
		if name := object.(metav1.Object).GetName(); name != "true" {
			t.Errorf("the %s is called %s", kind, name)
		}
	}
	fitTogether(t, deployment.Template, objects["Service"].(*corev1.Service), objects["ConfigMap"].(*corev1.ConfigMap), objects["Secret"].(*corev1.Secret))
}

// TestAChangedValueOfTheChartIsNoRollout has the Deployment stay as it is, so that helm
// upgrade replaces no pod.
func TestAChangedValueOfTheChartIsNoRollout(t *testing.T) {
	before, after := install(t, "app", ""), install(t, "app", "config: workers = 3\nsecret: {GREETING: Hello again}\n")
	for kind, changes := range map[string]bool{"ConfigMap": true, "Deployment": false, "Secret": true, "Service": false} {
		if changed := !equality.Semantic.DeepEqual(before[kind], after[kind]); changed != changes {
			t.Errorf("the %s has changed: %t", kind, changed)
		}
	}
}

func TestWhatTheChartLeavesToOthers(t *testing.T) {
	objects := install(t, "app", "replicas: null\nsecret: null\n")
	if n := objects["Deployment"].(*appsv1.Deployment).Spec.Replicas; n != nil {
		t.Errorf("the Deployment has %d replicas, an autoscaler's", *n)
	}
	if objects["Secret"] != nil {
		t.Error("there is a Secret, somebody else's")
	}
}

func TestWrongValuesOfTheChartAreRefused(t *testing.T) {
	for values, says := range map[string]string{
		"replica: 2":                          `at '': additional properties 'replica' not allowed`,
		"replicas: three":                     `at '/replicas': got string, want integer`,
		"replicas: -1":                        `at '/replicas': minimum: got -1, want 0`,
		"image: {tag: 2}":                     `at '/image': got object, want string`,
		"image: null":                         `at '': missing property 'image'`,
		"config: {workers: 2}":                `at '/config': got object, want string`,
		"secret: {PORT: 8080}":                `at '/secret/PORT': got number, want string`,
		"secret: {gunicorn.conf.py: x}":       `at '/secret': additional properties 'gunicorn.conf.py' not allowed`,
		"probe: /healthz":                     `at '/probe': '/healthz' does not match pattern`,
		"jitter: 30":                          `at '/jitter': got number, want string`,
		"jitter: half a minute":               `at '/jitter': 'half a minute' does not match pattern`,
		"resources: {limit: {memory: 192Mi}}": `at '/resources': additional properties 'limit' not allowed`,
	} {
		text, err := render("app", values)
		if err == nil {
			t.Errorf("%s makes\n%s", values, text)
			continue
		}
		// Helm's own words, and the chart's name, are the first two.
		if lines := strings.Split(strings.TrimSpace(err.Error()), "\n"); len(lines) != 3 || !strings.HasPrefix(lines[2], "- "+says) {
			t.Errorf("%s: it does not say in one line %s: %v", values, says, err)
		}
	}
}
