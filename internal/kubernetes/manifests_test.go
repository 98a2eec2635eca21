package kubernetes

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/json"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	podapi "k8s.io/kubernetes/pkg/api/pod"
	"k8s.io/kubernetes/pkg/apis/apps"
	_ "k8s.io/kubernetes/pkg/apis/apps/install"
	appsvalidation "k8s.io/kubernetes/pkg/apis/apps/validation"
	"k8s.io/kubernetes/pkg/apis/autoscaling"
	_ "k8s.io/kubernetes/pkg/apis/autoscaling/install"
	autoscalingvalidation "k8s.io/kubernetes/pkg/apis/autoscaling/validation"
	"k8s.io/kubernetes/pkg/apis/core"
	_ "k8s.io/kubernetes/pkg/apis/core/install"
	corevalidation "k8s.io/kubernetes/pkg/apis/core/validation"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

const example = "../../examples/kubernetes"

func init() {
	if err := monitoringv1.AddToScheme(legacyscheme.Scheme); err != nil {
		panic(err)
	}
}

// strict refuses fields that a type does not have, and keys that are there twice.
var strict = json.NewSerializerWithOptions(json.DefaultMetaFactory, legacyscheme.Scheme, legacyscheme.Scheme,
	json.SerializerOptions{Yaml: true, Strict: true})

// decode returns the objects of a file's YAML documents.
func decode(text []byte) ([]runtime.Object, error) {
	var objects []runtime.Object
	for documents := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(text))); ; {
		document, err := documents.Read()
		if err == io.EOF {
			return objects, nil
		}
		if err != nil {
			return nil, err
		}
		object, _, err := strict.Decode(document, nil, nil)
		if err != nil {
			return nil, err
		}
		objects = append(objects, object)
	}
}

// admit does what an API server does before it keeps an object: it fills in the
// namespace that was asked for and the defaults, and validates. A Deployment's
// pods must be admitted to a namespace whose level of Pod Security is restricted,
// too.
func admit(object runtime.Object) error {
	object = object.DeepCopyObject()
	its, err := meta.Accessor(object)
	if err != nil {
		return err
	}
	its.SetNamespace("default")
	legacyscheme.Scheme.Default(object)
	switch object := object.(type) {
	case *appsv1.Deployment:
		var internal apps.Deployment
		if err := legacyscheme.Scheme.Convert(object, &internal, nil); err != nil {
			return err
		}
		options := podapi.GetValidationOptionsFromPodTemplate(&internal.Spec.Template, nil)
		return errors.Join(asError(appsvalidation.ValidateDeployment(&internal, options)), restricted(object.Spec.Template))
	case *corev1.ConfigMap:
		var internal core.ConfigMap
		if err := legacyscheme.Scheme.Convert(object, &internal, nil); err != nil {
			return err
		}
		return asError(corevalidation.ValidateConfigMap(&internal))
	case *corev1.Secret:
		var internal core.Secret
		if err := legacyscheme.Scheme.Convert(object, &internal, nil); err != nil {
			return err
		}
		return asError(corevalidation.ValidateSecret(&internal))
	case *corev1.Service:
		var internal core.Service
		if err := legacyscheme.Scheme.Convert(object, &internal, nil); err != nil {
			return err
		}
		return asError(corevalidation.ValidateServiceCreate(&internal))
	case *autoscalingv2.HorizontalPodAutoscaler:
		var internal autoscaling.HorizontalPodAutoscaler
		if err := legacyscheme.Scheme.Convert(object, &internal, nil); err != nil {
			return err
		}
		options := autoscalingvalidation.HorizontalPodAutoscalerSpecValidationOptions{MinReplicasLowerBound: 1}
		return asError(autoscalingvalidation.ValidateHorizontalPodAutoscaler(&internal, options))
	case *monitoringv1.PodMonitor:
		return nil // what the operator's own types do not say is in no Go module
	}
	return fmt.Errorf("nothing is known of a %T", object)
}

func asError(list field.ErrorList) error {
	if len(list) == 0 {
		return nil
	}
	return list.ToAggregate()
}

// restricted asks what Pod Security's admission asks.
func restricted(template corev1.PodTemplateSpec) error {
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		return err
	}
	level := api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}
	result := policy.AggregateCheckResults(evaluator.EvaluatePod(level, &template.ObjectMeta, &template.Spec))
	if !result.Allowed {
		return fmt.Errorf("violates %s: %s", level, result.ForbiddenDetail())
	}
	return nil
}

// accept decodes YAML, and admits what it has.
func accept(text []byte) ([]runtime.Object, error) {
	objects, err := decode(text)
	for _, object := range objects {
		err = errors.Join(err, admit(object))
	}
	return objects, err
}

// manifest returns the only object of a file of the example.
func manifest[T runtime.Object](t *testing.T, name string) T {
	t.Helper()
	objects, err := accept(text(t, name))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if len(objects) != 1 {
		t.Fatalf("%s has %d objects", name, len(objects))
	}
	object, is := objects[0].(T)
	if !is {
		t.Fatalf("%s has a %T", name, objects[0])
	}
	return object
}

func text(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(example, name))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// kustomization returns what kustomize makes of the example.
func kustomization(t *testing.T) []runtime.Object {
	t.Helper()
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), example)
	if err != nil {
		t.Fatal(err)
	}
	text, err := built.AsYaml()
	if err != nil {
		t.Fatal(err)
	}
	objects, err := decode(text)
	if err != nil {
		t.Fatal(err)
	}
	return objects
}

func TestKustomizeAppliesTheManifestsAsTheyAre(t *testing.T) {
	want := map[string]runtime.Object{
		"ConfigMap":  manifest[*corev1.ConfigMap](t, "configmap.yaml"),
		"Deployment": manifest[*appsv1.Deployment](t, "deployment.yaml"),
		"Secret":     manifest[*corev1.Secret](t, "secret.yaml"),
		"Service":    manifest[*corev1.Service](t, "service.yaml"),
	}
	for kind, object := range byKind(t, kustomization(t)) {
		if !equality.Semantic.DeepEqual(object, want[kind]) {
			t.Errorf("kustomize has made this of it:\n%+v", object)
		}
		delete(want, kind)
	}
	for kind := range want {
		t.Errorf("kustomize applies no %s", kind)
	}
}

func TestTheManifestsFitTogether(t *testing.T) {
	fitTogether(t, manifest[*appsv1.Deployment](t, "deployment.yaml").Spec.Template, manifest[*corev1.Service](t, "service.yaml"),
		manifest[*corev1.ConfigMap](t, "configmap.yaml"), manifest[*corev1.Secret](t, "secret.yaml"))
}

func fitTogether(t *testing.T, pod corev1.PodTemplateSpec, service *corev1.Service, config *corev1.ConfigMap, secret *corev1.Secret) {
	t.Helper()
	for name, value := range service.Spec.Selector {
		if pod.Labels[name] != value {
			t.Errorf("the Service looks for %s=%s, and the pods have %s", name, value, pod.Labels)
		}
	}
	if pod.Spec.Volumes[0].ConfigMap.Name != config.Name {
		t.Errorf("the pods mount %s, and the ConfigMap is %s", pod.Spec.Volumes[0].ConfigMap.Name, config.Name)
	}
	if pod.Spec.Volumes[1].Secret.SecretName != secret.Name {
		t.Errorf("the pods mount %s, and the Secret is %s", pod.Spec.Volumes[1].Secret.SecretName, secret.Name)
	}
	container := pod.Spec.Containers[0]
	mounted := corev1.EnvVar{Name: "STABLEHAND_ENV_FILE", Value: container.VolumeMounts[1].MountPath}
	if !slices.Contains(container.Env, mounted) {
		t.Errorf("the Secret is mounted at %s, and not read there", mounted.Value)
	}
}

// A test that accepts everything would accept the example, too.
func TestMistakesInAManifestAreRefused(t *testing.T) {
	for name, test := range map[string]struct{ file, old, new, says string }{
		"a field that there is none of": {"deployment.yaml", "readinessProbe:", "readynessProbe:", `unknown field "spec.template.spec.containers[0].readynessProbe"`},
		"a field in the wrong place":    {"deployment.yaml", "  replicas: 3", "  replicas: 3\n  terminationGracePeriodSeconds: 1", `unknown field "spec.terminationGracePeriodSeconds"`},
		"a key that is there twice":     {"secret.yaml", "  GREETING:", "  GREETING: Hi\n  GREETING:", `key "GREETING" already set`},
		"a kind that there is none of":  {"service.yaml", "kind: Service", "kind: Servise", `no kind "Servise" is registered`},
		"a number that is a text":       {"deployment.yaml", "replicas: 3", "replicas: three", "cannot unmarshal string"},
		"a selector of other pods":      {"deployment.yaml", "matchLabels:\n      app.kubernetes.io/name: app", "matchLabels:\n      app.kubernetes.io/name: web", "`selector` does not match template `labels`"},
		"a mount of no volume":          {"deployment.yaml", "  - name: tmp #", "  - name: temporary #", `volumeMounts[2].name: Not found: "tmp"`},
		"an impossible port":            {"service.yaml", "port: 80\n", "port: 80000\n", "must be between 1 and 65535"},
		"a file name of the kubelet's":  {"configmap.yaml", "  gunicorn.conf.py:", "  ..data:", `data[..data]: Invalid value`},
		"a privileged container":        {"deployment.yaml", "allowPrivilegeEscalation: false", "privileged: true", `must not set securityContext.privileged=true`},
		"privilege escalation":          {"deployment.yaml", "          allowPrivilegeEscalation: false\n", "", "allowPrivilegeEscalation != false"},
		"root":                          {"deployment.yaml", "runAsUser: 65534", "runAsUser: 0", "must not set runAsUser=0"},
		"capabilities":                  {"deployment.yaml", "drop: [ALL]", "add: [SYS_PTRACE]", "unrestricted capabilities"},
		"no seccomp profile":            {"deployment.yaml", "type: RuntimeDefault", "type: Unconfined", "seccompProfile"},
		"a directory of the node":       {"deployment.yaml", "configMap:\n          name: app", "hostPath:\n          path: /etc", "restricted volume types"},
		"a window of two hours":         {"autoscaler.yaml", "stabilizationWindowSeconds: 120", "stabilizationWindowSeconds: 7200", "stabilizationWindowSeconds: Invalid value: 7200: must be less than or equal to 3600"},
		"a metric of no kind":           {"autoscaler.yaml", "- type: Resource", "- type: Resources", `metrics[0].type: Unsupported value: "Resources"`},
		"no port to scrape":             {"podmonitor.yaml", "podMetricsEndpoints:", "endpoints:", `unknown field "spec.endpoints"`},
	} {
		t.Run(name, func(t *testing.T) {
			before := text(t, test.file)
			after := bytes.Replace(before, []byte(test.old), []byte(test.new), 1)
			if bytes.Equal(before, after) {
				t.Fatalf("%s has no %q to replace", test.file, test.old)
			}
			if _, err := accept(after); err == nil || !strings.Contains(err.Error(), test.says) {
				t.Errorf("it does not say %q: %v", test.says, err)
			}
		})
	}
}
