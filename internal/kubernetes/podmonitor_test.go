package kubernetes

import (
	"fmt"
	"slices"
	"testing"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

func TestThePodMonitorFitsTheDeployment(t *testing.T) {
	monitor, pod := manifest[*monitoringv1.PodMonitor](t, "podmonitor.yaml").Spec, manifest[*appsv1.Deployment](t, "deployment.yaml").Spec.Template
	selector, err := metav1.LabelSelectorAsSelector(&monitor.Selector)
	if err != nil {
		t.Fatal(err)
	}
	if !selector.Matches(labels.Set(pod.Labels)) {
		t.Errorf("it looks for %s, and the pods have %s", selector, pod.Labels)
	}
	if len(monitor.PodMetricsEndpoints) != 1 || monitor.PodMetricsEndpoints[0].Port == nil {
		t.Fatalf("it asks at %v, want one port by its name", monitor.PodMetricsEndpoints)
	}
	if path := monitor.PodMetricsEndpoints[0].Path; path != "" {
		t.Errorf("it asks for %s, and not for /metrics, which is the default", path)
	}
	container, name := pod.Spec.Containers[0], *monitor.PodMetricsEndpoints[0].Port
	i := slices.IndexFunc(container.Ports, func(p corev1.ContainerPort) bool { return p.Name == name })
	if i < 0 {
		t.Fatalf("the container has no port %s: %v", name, container.Ports)
	}
	if address, want := value(t, container, "STABLEHAND_HTTP"), fmt.Sprint(":", container.Ports[i].ContainerPort); address != want {
		t.Errorf("stablehand answers at %s, and the port %s is %s", address, name, want)
	}
}
