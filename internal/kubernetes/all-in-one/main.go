//go:build cluster

// Command all-in-one is Kubernetes for one node, as far as it is written in Go:
//
//	all-in-one COMPONENT [FLAG...]
//
// COMPONENT is etcd, kube-apiserver, kube-controller-manager, kube-scheduler, kubelet,
// kube-proxy or kubectl, each as it is by itself. One binary shares what they have in
// common, and so is built and linked once. It has a build tag since nothing but the tests
// with a cluster needs it, and it takes a quarter of an hour to compile.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	"k8s.io/kubectl/pkg/cmd"
	"k8s.io/kubectl/pkg/cmd/util"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	manager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

// components make the command of each server of Kubernetes' own.
var components = map[string]func() *cobra.Command{
	"kube-apiserver":          apiserver.NewAPIServerCommand,
	"kube-controller-manager": manager.NewControllerManagerCommand,
	"kube-proxy":              proxy.NewProxyCommand,
	"kube-scheduler":          func() *cobra.Command { return scheduler.NewSchedulerCommand() },
	"kubelet":                 func() *cobra.Command { return kubelet.NewKubeletCommand(context.Background()) },
}

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: all-in-one COMPONENT [FLAG...]")
		os.Exit(2)
	}
	os.Args = os.Args[1:] // each reads them itself
	switch name := os.Args[0]; name {
	case "etcd":
		etcdmain.Main(os.Args)
	case "kubectl":
		if err := cli.RunNoErrOutput(cmd.NewDefaultKubectlCommand()); err != nil {
			util.CheckErr(err)
		}
	default:
		component := components[name]
		if component == nil {
			fmt.Fprintln(os.Stderr, "all-in-one: there is no component", name)
			os.Exit(2)
		}
		os.Exit(cli.Run(component()))
	}
}
