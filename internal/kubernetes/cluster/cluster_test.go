package cluster

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/stablehand/stablehand/internal/docker"
)

// cluster is the one that all tests share.
type cluster struct {
	top    string // of the repository
	dir    string // for what it writes
	binary string // all-in-one

	api     *kubernetes.Clientset // for what is looked at often
	kubelet *exec.Cmd
}

var share = sync.OnceValues(start)

// shared returns the cluster, which the first test that asks for it starts. A test is
// skipped where something is missing for it.
func shared(t *testing.T) *cluster {
	t.Helper()
	c, err := share()
	if errors.Is(err, errMissing) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// needs are the programs that a node has, and the Debian package of each.
var needs = []struct{ program, from string }{
	{"containerd", "containerd"}, {"ctr", "containerd"}, {"runc", "runc"},
	{"/usr/lib/cni/bridge", "containernetworking-plugins"},
	{"ip", "iproute2"}, {"iptables", "iptables"}, {"gcc", "gcc libc6-dev"},
}

// start starts a cluster, and returns when its node is ready.
func start() (*cluster, error) {
	if unfit != nil {
		return nil, unfit
	}
	top, err := docker.Top()
	if err != nil {
		return nil, err
	}
	c := &cluster{top: top, dir: filepath.Join(top, ".cache", "cluster"), binary: filepath.Join(top, ".cache", "bin", "all-in-one")}
	if err := c.possible(); err != nil {
		return nil, fmt.Errorf("%w: %w", errMissing, err)
	}
	if err := errors.Join(os.RemoveAll(c.dir), os.MkdirAll(c.dir, 0o755), furnish(), c.settle()); err != nil {
		return nil, err
	}
	for _, step := range []func() error{c.startRuntime, c.startPlane, c.startNode} {
		if err := step(); err != nil {
			return nil, fmt.Errorf("%w; see %s", err, c.dir)
		}
	}
	return c, nil
}

func (c *cluster) possible() error {
	if _, err := os.Stat(c.binary); err != nil {
		return errors.New(".cache/bin/all-in-one is missing (make .cache/bin/all-in-one)")
	}
	for _, need := range needs {
		if _, err := exec.LookPath(need.program); err != nil {
			return fmt.Errorf("%s is missing (Debian: apt-get install %s)", need.program, need.from)
		}
	}
	return nil
}

// startRuntime starts containerd, and gives it the images.
func (c *cluster) startRuntime() error {
	if _, err := c.server("containerd", "containerd", "--config="+c.file("containerd.toml")); err != nil {
		return err
	}
	if err := until("containerd", func() error { return output(exec.Command("ctr", "version")) }); err != nil {
		return err
	}
	return c.makeImages()
}

// startPlane starts the control plane.
func (c *cluster) startPlane() error {
	for _, words := range [][]string{
		{"etcd", "--data-dir=" + c.file("etcd"), "--unsafe-no-fsync", "--log-level=warn"},
		{"kube-apiserver", "--etcd-servers=http://127.0.0.1:2379", "--advertise-address=" + address, "--cert-dir=" + c.file("apiserver"),
			"--token-auth-file=" + c.file("tokens"), "--authorization-mode=RBAC", "--anonymous-auth=false", "--service-cluster-ip-range=" + services,
			"--service-account-issuer=https://kubernetes.default.svc", "--service-account-key-file=" + c.file("key"), "--service-account-signing-key-file=" + c.file("key"),
			"--kubelet-preferred-address-types=InternalIP"},
	} {
		if _, err := c.component(words...); err != nil {
			return err
		}
	}
	if err := until("the API server", func() error { return output(c.kubectl("get", "--raw=/readyz")) }); err != nil {
		return err
	}
	for _, words := range [][]string{
		{"kube-controller-manager", "--kubeconfig=" + c.file("kubeconfig"), "--leader-elect=false", "--service-account-private-key-file=" + c.file("key")},
		{"kube-scheduler", "--kubeconfig=" + c.file("kubeconfig"), "--leader-elect=false"},
	} {
		if _, err := c.component(words...); err != nil {
			return err
		}
	}
	return nil
}

// startNode starts what a node has beside containerd.
func (c *cluster) startNode() error {
	err := c.startKubelet()
	if err != nil {
		return err
	}
	// What is 0 would be the whole machine's.
	if _, err = c.component("kube-proxy", "--kubeconfig="+c.file("kubeconfig"), "--hostname-override="+node, "--proxy-mode=iptables", "--cluster-cidr="+podNetwork,
		"--conntrack-max-per-core=0", "--conntrack-tcp-timeout-established=0s", "--conntrack-tcp-timeout-close-wait=0s"); err != nil {
		return err
	}
	return until("the node", func() error {
		return output(c.kubectl("wait", "--for=condition=Ready", "node/"+node, "--timeout=1s"))
	})
}

func (c *cluster) startKubelet() (err error) {
	c.kubelet, err = c.component("kubelet", "--config="+c.file("kubelet.yaml"), "--kubeconfig="+c.file("kubeconfig"), "--hostname-override="+node, "--node-ip="+address)
	return err
}

// component starts one of all-in-one.
func (c *cluster) component(words ...string) (*exec.Cmd, error) {
	return c.server(words[0], append([]string{c.binary}, words...)...)
}

// server starts what runs as long as the tests do, with a log of its own.
func (c *cluster) server(name string, words ...string) (*exec.Cmd, error) {
	log, err := os.OpenFile(c.file(name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	return cmd, cmd.Start()
}

// kubectl is a command of kubectl's.
func (c *cluster) kubectl(words ...string) *exec.Cmd {
	cmd := exec.Command(c.binary, append([]string{"kubectl"}, words...)...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+c.file("kubeconfig"), "HOME="+c.dir)
	return cmd
}

// output runs a command, and has the error tell what it said.
func output(cmd *exec.Cmd) error {
	_, err := text(cmd)
	return err
}

// text runs a command, and returns what it printed.
func text(cmd *exec.Cmd) (string, error) {
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, said.String())
	}
	return out.String(), nil
}

// patience is how long anything is waited for: the slowest is a container that has failed
// some times, which the kubelet starts again after up to 5 minutes.
const patience = 6 * time.Minute

// until waits until something works.
func until(what string, works func() error) error {
	for deadline := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		err := works()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s: not within %s: %w", what, patience, err)
		}
	}
}

func (c *cluster) file(name string) string { return filepath.Join(c.dir, name) }

// settle writes the servers' settings.
func (c *cluster) settle() error {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	token := rand.Text()
	if c.api, err = kubernetes.NewForConfig(&rest.Config{
		Host: "https://" + address + ":6443", BearerToken: token, QPS: -1, TLSClientConfig: rest.TLSClientConfig{Insecure: true},
	}); err != nil {
		return err
	}
	for name, text := range map[string]string{
		"key":               string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})),
		"tokens":            token + ",admin,admin,system:masters\n",
		"kubeconfig":        fmt.Sprintf(kubeconfig, address, token),
		"containerd.toml":   fmt.Sprintf(containerdSettings, c.dir),
		"kubelet.yaml":      kubeletSettings,
		"cni/pods.conflist": fmt.Sprintf(cniSettings, podNetwork),
	} {
		if err := os.MkdirAll(filepath.Dir(c.file(name)), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(c.file(name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

const kubeconfig = `apiVersion: v1
kind: Config
clusters: [{name: one, cluster: {server: "https://%s:6443", insecure-skip-tls-verify: true}}]
users: [{name: admin, user: {token: %s}}]
contexts: [{name: one, context: {cluster: one, user: admin}}]
current-context: one
`

// Where a machine gives no CAP_SYS_RESOURCE no oom_score_adj below our own can be set, as
// the -998 of a sandbox would be: so containerd is to restrict them to what can be.
const containerdSettings = `version = 2
root = "%[1]s/containerd"
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.aufs"]
[plugins."io.containerd.internal.v1.opt"]
  path = "%[1]s/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "` + pauseImage + `"
  disable_apparmor = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "%[1]s/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
`

const cniSettings = `{"cniVersion": "0.4.0", "name": "pods", "plugins": [
  {"type": "bridge", "bridge": "pods", "ipam": {"type": "host-local", "ranges": [[{"subnet": "%s", "rangeStart": "10.88.1.0"}]]}}]}
`

// Nothing is evicted for what a machine lacks that does other things, too.
const kubeletSettings = `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
cgroupDriver: cgroupfs
failCgroupV1: false
failSwapOn: false
enforceNodeAllocatable: []
evictionHard: {memory.available: "0%", nodefs.available: "0%", nodefs.inodesFree: "0%", imagefs.available: "0%", imagefs.inodesFree: "0%", pid.available: "0%"}
imageGCHighThresholdPercent: 100
resolvConf: ""
`
