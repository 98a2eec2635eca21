// Package cluster shows what stablehand promises of a pod in a real cluster of one node:
// etcd, API server, controller manager, scheduler, kubelet and kube-proxy, all in one
// binary that is built of their own source, with containerd and runc below them. Clients
// ask through the Service of examples/kubernetes.
//
// All of it lives in a network, mount and PID namespace that are made for it. No address
// in the network leads out of it, and when the tests end nothing is left: what runs there
// ends with the namespace, and what is the whole machine's (some sysctls, and control
// groups) is put back.
//
// It knows nothing of nodes in the plural, of version 2 of the control groups where the
// machine has version 1, and of load balancers outside a cluster.
package cluster
