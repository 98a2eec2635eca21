package kubernetes

import (
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
)

func TestTheAutoscalerFitsTheDeployment(t *testing.T) {
	autoscaler, deployment := manifest[*autoscalingv2.HorizontalPodAutoscaler](t, "autoscaler.yaml").Spec, manifest[*appsv1.Deployment](t, "deployment.yaml")
	target := autoscalingv2.CrossVersionObjectReference{APIVersion: deployment.APIVersion, Kind: deployment.Kind, Name: deployment.Name}
	if autoscaler.ScaleTargetRef != target {
		t.Errorf("it scales %v, and the Deployment is %v", autoscaler.ScaleTargetRef, target)
	}
	if *autoscaler.MinReplicas != *deployment.Spec.Replicas {
		t.Errorf("it has %d replicas at least, and the Deployment %d", *autoscaler.MinReplicas, *deployment.Spec.Replicas)
	}
	requests := deployment.Spec.Template.Spec.Containers[0].Resources.Requests
	for _, metric := range autoscaler.Metrics {
		if metric.Resource == nil || metric.Resource.Name == corev1.ResourceMemory {
			t.Errorf("a handoff would scale: %v", metric)
		} else if _, asked := requests[metric.Resource.Name]; !asked {
			t.Errorf("%s is a share of a request that there is none of", metric.Resource.Name)
		}
	}
}
