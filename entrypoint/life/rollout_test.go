package life_test

import (
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

var (
	podStarts = span{time.Second, 5 * time.Second} // until its container runs: what Kubernetes is to keep in 99 of 100 cases
	readies   = span{0, 2 * time.Second}           // until the startup probe of examples/kubernetes has asked again
)

const (
	perCall = time.Second / 20 // kube-controller-manager's --kube-api-qps
	burst   = 30               // and its --kube-api-burst

	// The kubelet starts a container that has ended at once, then after a pause, which
	// doubles.
	crashes    = 10 * time.Second
	maxCrashes = 5 * time.Minute
)

// deployment is a Deployment of Kubernetes as its controller rolls it (reconcileNewReplicaSet
// and reconcileOldReplicaSets in pkg/controller/deployment/rolling.go of 1.37), with the
// defaults of maxSurge and maxUnavailable. It is one that always knows at once how many
// pods are available, and makes its calls in the order in which it decides on them.
type deployment struct {
	sync.Mutex
	pods               int
	made               uint64 // pods so far
	surge, unavailable int
	sets               []*replicaSet // the newest last
	perCall            time.Duration // between two calls of the API
	call               time.Time     // when the last one was due
	now                sample        // but for fresh
}

// replicaSet is the pods of one content.
type replicaSet struct {
	content byte
	pods    []*replica // that are to be there
	ready   int        // of these
	serving int        // of these, and those that are still to be deleted
}

// replica is one pod.
type replica struct {
	set   *replicaSet
	draws *rand.Rand
	goes  chan time.Duration // that it is to go, and how long it takes until that is called
}

// rolls is how a fleet of pods fares that is rolled at each change.
func rolls(t *testing.T, name string, pods int, perCall time.Duration) *outcome {
	o := &outcome{name: name, pods: pods}
	synctest.Test(t, func(t *testing.T) {
		d := newDeployment(pods)
		d.perCall = perCall
		o.fares(d)
		d.Lock()
		for _, set := range d.sets {
			d.shrink(set, len(set.pods))
		}
		d.Unlock()
		time.Sleep(time.Hour) // until they have gone
	})
	o.checkRolled(t)
	return o
}

func newDeployment(pods int) *deployment {
	d := &deployment{pods: pods,
		surge: (pods + 3) / 4, unavailable: pods / 4} // a quarter, rounded up and down
	set := &replicaSet{content: first, ready: pods, serving: pods}
	for range pods {
		go d.serves(d.add(set))
	}
	d.sets, d.now = []*replicaSet{set}, sample{serving: pods, alive: pods}
	return d
}

// apply is what Reloader does as soon as it hears of a change: it patches the pods' template.
func (d *deployment) apply(content byte) {
	d.Lock()
	defer d.Unlock()
	d.sets = append(d.sets, &replicaSet{content: content})
	d.reconcile()
}

func (d *deployment) look(content byte) sample {
	d.Lock()
	defer d.Unlock()
	s := d.now
	if set := d.sets[len(d.sets)-1]; set.content == content {
		s.fresh = set.serving
	}
	return s
}

// reconcile has as many pods come and go as may, with the deployment locked.
func (d *deployment) reconcile() {
	newest, old := d.sets[len(d.sets)-1], d.sets[:len(d.sets)-1]
	for again := true; again; {
		grows := max(0, min(d.pods+d.surge-d.count(), d.pods-len(newest.pods)))
		for range grows {
			go d.starts(d.add(newest), d.turn())
		}
		again = d.scaleDown(newest, old)
	}
}

// add has a set have one pod more.
func (d *deployment) add(set *replicaSet) *replica {
	d.made++
	pod := &replica{set: set, draws: rand.New(rand.NewPCG(d.made, 0)), goes: make(chan time.Duration, 1)}
	set.pods = append(set.pods, pod)
	return pod
}

// count is how many pods are to be there.
func (d *deployment) count() (all int) {
	for _, set := range d.sets {
		all += len(set.pods)
	}
	return all
}

// scaleDown has old pods go: first those that are not available, then as many as are
// available beyond what there is to be.
func (d *deployment) scaleDown(newest *replicaSet, old []*replicaSet) (some bool) {
	least, available := d.pods-d.unavailable, 0
	for _, set := range d.sets {
		available += set.ready
	}
	most := d.count() - least - (len(newest.pods) - newest.ready)
	if most <= 0 {
		return false
	}
	for _, set := range old {
		n := min(most, len(set.pods)-set.ready)
		most -= n
		some = d.shrink(set, n) || some
	}
	for _, set := range old {
		n := max(0, min(set.ready, available-least))
		available -= n
		some = d.shrink(set, n) || some
	}
	return some
}

// shrink has some pods of a set go.
func (d *deployment) shrink(set *replicaSet, n int) bool {
	for range n {
		last := len(set.pods) - 1
		set.pods[last].goes <- d.turn()
		set.pods = set.pods[:last]
		set.ready = min(set.ready, last)
	}
	return n > 0
}

// turn is how long it takes until the next call of the API may be made.
func (d *deployment) turn() time.Duration {
	if earliest := time.Now().Add(-burst * d.perCall); d.call.Before(earliest) {
		d.call = earliest
	}
	d.call = d.call.Add(d.perCall)
	return max(0, time.Until(d.call))
}

// starts is a pod's life until it serves.
func (d *deployment) starts(pod *replica, turn time.Duration) {
	time.Sleep(turn)
	d.notes(func() { d.now.alive++ })
	time.Sleep(podStarts.draw(pod.draws))
	for pause := time.Duration(0); ; pause = min(max(2*pause, crashes), maxCrashes) {
		d.notes(func() { d.now.loading++ })
		time.Sleep(warms.draw(pod.draws))
		d.notes(func() { d.now.loading-- })
		if pod.set.content != broken {
			break
		}
		d.notes(func() { d.now.tries++ })
		select {
		case <-time.After(pause):
		case turn := <-pod.goes:
			time.Sleep(turn)
			d.notes(func() { d.now.alive-- })
			return
		}
	}
	time.Sleep(readies.draw(pod.draws))
	d.notes(func() {
		pod.set.ready, pod.set.serving, d.now.serving = pod.set.ready+1, pod.set.serving+1, d.now.serving+1
		d.reconcile()
	})
	d.serves(pod)
}

// serves is a pod's life from then on.
func (d *deployment) serves(pod *replica) {
	time.Sleep(<-pod.goes)
	d.notes(func() { pod.set.serving, d.now.serving = pod.set.serving-1, d.now.serving-1 })
	time.Sleep(stopDelay + retires.draw(pod.draws))
	d.notes(func() { d.now.alive-- })
}

// notes has something noted, with the deployment locked.
func (d *deployment) notes(what func()) {
	d.Lock()
	defer d.Unlock()
	what()
}

// checkRolled: as many pods serve as are to, what is broken does not go on, and what is
// good is served at last.
func (o *outcome) checkRolled(t *testing.T) {
	t.Helper()
	least := o.pods - o.pods/4
	for _, p := range []phase{o.good, o.broken, o.mended} {
		if serving := o.pods - p.most(func(s sample) int { return o.pods - s.serving }); serving < least {
			t.Errorf("%d pods: %d serve, and %d are to", o.pods, serving, least)
		}
	}
	// As the example in rolling.go has it: of 10 pods 8 are left, beside 5 that are broken.
	all := o.pods + (o.pods+3)/4
	if last := o.broken[len(o.broken)-1]; last.serving != least || last.fresh != 0 || last.alive != all {
		t.Errorf("%d pods: with a broken change %d serve, %d what is broken, of %d, and %d of %d are to", o.pods, last.serving, last.fresh, last.alive, least, all)
	}
	if o.good.until(o.pods) < 0 || o.mended.until(o.pods) < 0 {
		t.Errorf("%d pods: not all serve what is good", o.pods)
	}
}
