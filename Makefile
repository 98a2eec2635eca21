.PHONY: help
help: ## list what can be made (the default)
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

PYTHON ?= python3
export PYTHON

# The race detector needs a C compiler and its headers; the binary itself never does.
RACE := $(shell $${CC:-gcc} -E -include stdlib.h -x c /dev/null >/dev/null 2>&1 && echo -race)

# Kubernetes, which some tests need, and what makes a release stay out of the program's
# go.mod.
MODULES := . internal/kubernetes internal/release

# Nothing of it speaks HTTP/2, which net/http leaves out by that tag: 0.4 MB.
.PHONY: build
build: ## build bin/stablehand, a static binary
	CGO_ENABLED=0 go build -trimpath -tags=nethttpomithttp2 -ldflags='-s $(foreach what,version commit date,-X $(VERSIONS).$(what)=$($(what)))' -o bin/stablehand ./cmd/stablehand

# What a binary says of itself. Without git it says that this is not known.
VERSIONS := github.com/stablehand/stablehand/internal/version
version = $(shell git describe --tags --match='v[0-9]*' --dirty 2>/dev/null)
commit  = $(shell git rev-parse --verify HEAD 2>/dev/null)$(if $(shell git status --porcelain 2>/dev/null),-dirty)
date    = $(shell TZ=UTC git log -1 --format=%cd --date=format-local:%Y-%m-%dT%H:%M:%SZ 2>/dev/null)

.PHONY: image
image: ## build the image stablehand, for COPY --from=stablehand, with docker
	docker build --target=binary --tag=stablehand $(foreach what,version commit date,--build-arg=$(what)=$($(what))) .

PORT ?= 8000

.PHONY: demo
demo: build .venv/complete ## serve examples/flask at 127.0.0.1:PORT, by default 8000; with DEMO=auto change it under load and exit
	@go build -o bin/demo ./examples/flask/demo && exec bin/demo -port='$(PORT)' $(DEMO)

# The tests with a real gunicorn mostly wait: a third of what two processors can do was
# seen to be used by as many tests at a time. With half as many again some were seen to
# fail, which go by what a machine does within a second or two.
PARALLEL := $(shell expr 2 \* $$(nproc))

# Which tests are left to which target is in internal/testreport/parts.txt.
REPORT := @PATH=$$PATH:$(CURDIR)/.cache/bin go run ./internal/testreport $(REPORTFLAGS)
FLAGS  := -- $(RACE) -parallel $(PARALLEL) -timeout 80m $(TESTFLAGS)

# Whatever packs an artifact is slow with the race detector, and nothing of it is concurrent.
RELEASE := internal/release,-race=false

.PHONY: test
test: export RELEASE_TEST_MACHINES = this
test: envs .venv/complete ## run the tests that matter to most changes, and try a release for this machine, within 12 minutes; name what is left to others
	$(REPORT) -part=test . $(RELEASE) $(FLAGS)

.PHONY: test-rest
test-rest: envs ## run the others: every gunicorn, init and user, chaos, Docker, systemd
	$(REPORT) -part=rest . $(FLAGS)

.PHONY: test-kubernetes
test-kubernetes: envs .cache/bin/kubelet-volume ## run what takes Kubernetes' own code, which is compiled for it
	$(REPORT) -part=kubernetes . internal/kubernetes $(FLAGS)

# Without cgo, as the cluster itself is built, so that what both need is compiled once.
.PHONY: cluster-test test-cluster
test-cluster: cluster-test
cluster-test: export CGO_ENABLED = 0
cluster-test: envs .cache/bin/all-in-one ## run examples/kubernetes in a real cluster of one node, whatever is done to it; as root, by hand before a release
	$(REPORT) -part=cluster internal/kubernetes -- -timeout 80m -parallel 4 $(TESTFLAGS)

.PHONY: test-all
test-all: envs .venv/complete .cache/bin/kubelet-volume ## run all of these, and test-release, in one go
	$(REPORT) . internal/kubernetes $(RELEASE) $(FLAGS)

# Most of these tests wait, and so many run at once.
.PHONY: check
check: lint-. vulnerabilities ## within a minute, without Python or root: linters, vulnerabilities, short tests, LIVES simulated lives
	LIVES=$(or $(LIVES),1000) go test $(RACE) -short -p 8 -parallel 16 ./entrypoint/... ./internal/... ./reaper ./docs

# The kubelet's own code, for scripts that write a volume. It is compiled with RACE as
# the tests are, so that Kubernetes is compiled once.
.PHONY: .cache/bin/kubelet-volume
.cache/bin/kubelet-volume:
	@cd internal/kubernetes && go build $(RACE) -o $(CURDIR)/$@ ./kubelet-volume

# Kubernetes for one node, of its own source. It has no race detector in it, and what it
# says of its version is that of its module.
.cache/bin/all-in-one: internal/kubernetes/all-in-one/main.go internal/kubernetes/go.mod
	cd internal/kubernetes && version=$$(go list -m -f '{{.Version}}' k8s.io/kubernetes) && \
		CGO_ENABLED=0 go build -tags=cluster -ldflags="-s -w -X k8s.io/component-base/version.gitVersion=$$version" -o $(CURDIR)/$@ ./all-in-one

# Each round draws from its seed what goes wrong, and when.
.PHONY: chaos
chaos: envs ## go through ROUNDS rounds of chaos with real gunicorns from SEED on, and tell of each; it needs root
	cd cmd/stablehand && go test -run='^TestChaos$$' -rounds=$(or $(ROUNDS),100) -seed=$(or $(SEED),1000) -timeout 0 $(TESTFLAGS)

BENCH := bin/bench $(REST:%=-rest=%) $(BENCHFLAGS)

.PHONY: bin/bench
bin/bench:
	@go build -o $@ ./internal/bench

# What was seen is kept in .cache/bench/results.jsonl, with which RESUME=yes goes on.
# WAYS=hup,bind,… and APPS=sleeping:5s,computing:40s,… choose some.
.PHONY: bench
bench: build env-bench bin/bench ## compare ways of reloading, each REPEAT=3 times, and rest for REST=1m: docs/benchmarks.md and its picture
	$(BENCH) -page=docs/benchmarks.md -picture=docs/benchmarks.svg $(REPEAT:%=-repeat=%) $(WAYS:%=-ways=%) $(APPS:%=-apps=%) $(if $(RESUME),-resume)

.PHONY: bench-inits
bench-inits: build env-bench bin/bench ## compare what PID 1 costs, with tini, dumb-init and a loop of bash
	$(BENCH) -inits -page=docs/benchmarks.md $(ORPHANS:%=-orphans=%)

# It goes on with what is in .cache/bench/long.jsonl.
.PHONY: bench-long
bench-long: build env-workers bin/bench ## have each worker class answer a million requests over HANDOFFS=200 handoffs, and one hand over 1,000 times; hours
	$(BENCH) -long -page=docs/benchmarks.md -every=$(or $(EVERY),5ms) $(HANDOFFS:%=-handoffs=%) $(REQUESTS:%=-requests=%) $(CLASSES:%=-classes=%)

.PHONY: bench-rest
bench-rest: build envs ## measure what rest takes, also after handoffs, what a healthcheck takes, and a look at 500 workers
	E2E_STABLEHAND=bin/stablehand go test -run='^$$' -bench=Rest -benchtime=$(or $(TIMES),3)x -timeout 60m ./cmd/stablehand
	E2E_STABLEHAND=bin/stablehand go test -run='^$$' -bench=Healthcheck -benchtime=200x ./cmd/stablehand
	go test -run='^$$' -bench=Look -benchtime=200x -timeout 60m ./entrypoint/gunicorn

.PHONY: bench-bind
bench-bind: build envs ## measure HANDOFFS handoffs of each worker class under load, by USR2 and with BIND
	E2E_STABLEHAND=bin/stablehand go test -run='^$$' -bench='Ways$(CLASS:%=/^%$$)' -benchtime=$(or $(HANDOFFS),10)x -timeout 0 ./cmd/stablehand

# 10,000 lives at once take some minutes of CPU, and 1 GB of memory.
.PHONY: fleet
fleet: ## simulate a change in fleets of 10 to 10,000 pods beside a rolling update, tell how each fares, and draw docs/fleet.svg
	go test -run='^TestFleet$$' -v -timeout 60m ./entrypoint/life -fleets=10,100,1000,10000 -compared=1000 -picture=$(CURDIR)/docs/fleet.svg

.PHONY: lint
lint: $(MODULES:%=lint-%) ## run golangci-lint (.golangci.yml: gofmt, go vet, staticcheck, errcheck, import rules) and go mod tidy as a check

# A linter itself needs no race detector, but what it looks at is compiled as the tests
# compile it.
LINTER := GOFLAGS="$$(go env GOFLAGS) $(RACE)" go run -race=false

# What it looks for, and the import rules, are in .golangci.yml.
.PHONY: $(MODULES:%=lint-%)
$(MODULES:%=lint-%): lint-%:
	cd $* && $(LINTER) github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0 run
	cd $* && go mod tidy -diff

# VULNDB is another database than Go's own. Where it cannot be reached that is no
# finding; govulncheck has no exit code for it.
.PHONY: vulnerabilities
vulnerabilities: ## look for known vulnerabilities that the program can reach
	@if ! found=$$($(LINTER) golang.org/x/vuln/cmd/govulncheck@v1.9.0 $(VULNDB:%=-db=%) ./... 2>&1); then \
		why=$$(echo "$$found" | sed -n 's/^govulncheck: fetching vulnerabilities: //p'); \
		if [ -z "$$why" ]; then echo "$$found" >&2; exit 1; fi; \
		echo "vulnerabilities were NOT checked, their database cannot be reached: $$why" >&2; \
	fi

# The pages are the repository's own: mkdocs finds them, and all that they link to, by
# symlinks. It is strict: a link or a heading that is not there is an error.
.PHONY: docs
docs: ## build the pages as a site, in .cache/site
	$(PYENV) .cache/mkdocs mkdocs==1.6.1 mkdocs-material==9.8.2
	@rm -rf .cache/pages && mkdir -p .cache/pages
	@ln -s $(addprefix $(CURDIR)/,$(filter-out bin dist,$(wildcard * .ci .github .golangci.yml))) .cache/pages/
	@NO_MKDOCS_2_WARNING=true .cache/mkdocs/bin/mkdocs build --strict

.PHONY: clean
clean: ## remove all that was made
	rm -rf bin dist .venv .cache

# The demo's environment. What it needs is in the example's requirements.
.venv/complete: examples/flask/requirements.txt
	@rm -f $@
	@cmd/stablehand/testdata/pyenv .venv --requirement=examples/flask/requirements.txt

GUNICORNS := 20.1.0 21.2.0 22.0.0 23.0.0 25.3.0 26.1.0 27.0.1
NEWEST    := $(lastword $(GUNICORNS))
PY        := .cache/py
PYENV     := @cmd/stablehand/testdata/pyenv

# The examples that have scripts and packages of their own.
EXAMPLES := $(foreach scripts,$(wildcard examples/*/testdata),$(patsubst examples/%/requirements.txt,%,$(wildcard $(scripts:testdata=requirements.txt))))

# The virtual environments that the end-to-end tests pick their gunicorn from.
ENVS := $(GUNICORNS:%=env-gunicorn-%) env-workers env-titled env-second $(EXAMPLES:%=env-example-%)
.PHONY: envs $(ENVS)
envs: ## build the tests' virtual environments (make test does it)
	@$(MAKE) --no-print-directory --jobs=$$(nproc) $(ENVS)

# gunicorn 20.1.0 imports pkg_resources, which setuptools had until 80.
env-gunicorn-20.1.0:
	$(PYENV) $(PY)/gunicorn-20.1.0 gunicorn==20.1.0 'setuptools<81'

$(filter-out env-gunicorn-20.1.0,$(GUNICORNS:%=env-gunicorn-%)): env-gunicorn-%:
	$(PYENV) $(PY)/gunicorn-$* gunicorn==$*

# gunicorn's gevent worker imports packaging.
env-workers:
	$(PYENV) $(PY)/workers gunicorn==$(NEWEST) gevent packaging tornado uvicorn uvicorn-worker uvloop httptools

# The servers that reloads are compared with, and what is wrapped around gunicorn for it.
SERVERS := gunicorn==$(NEWEST) uvicorn==0.54.0 uvicorn-worker==0.4.0 uvloop==0.23.0 httptools==0.9.0
.PHONY: env-bench
env-bench:
	$(PYENV) .cache/bench/servers $(SERVERS) granian==2.8.9
	$(PYENV) .cache/bench/rainbow-saddle $(SERVERS) rainbow-saddle==0.4.0
	-$(PYENV) .cache/bench/unicornherder $(SERVERS) $(HERDER)

# unicornherder was never published as a package. Where it is not to be had its rows say so.
HERDER ?= git+https://github.com/alphagov/unicornherder@a89e01278490ad73a4ede89eb2acc57b19269601

# With setproctitle gunicorn renames its processes, over their environment.
env-titled:
	$(PYENV) $(PY)/titled gunicorn==$(NEWEST) setproctitle

# Another Python to change to, with the newest gunicorn that it can have. PyPy is
# what Debian has beside its own CPython; a machine need not have it.
SECOND ?= pypy3
env-second: export PYTHON := $(SECOND)
env-second: export OPTIONAL := yes
env-second:
	$(PYENV) $(PY)/second 'gunicorn<=$(NEWEST)'

# Tools of tests that are in no package of Debian's, or older there.
.cache/bin/consul-template:
	GOBIN=$(CURDIR)/.cache/bin go install github.com/hashicorp/consul-template@v0.41.1

# An ACME server and its client, for examples/tls.
.cache/bin/pebble:
	GOBIN=$(CURDIR)/.cache/bin go install github.com/letsencrypt/pebble/v2/cmd/pebble@v2.10.1

.cache/bin/certbot:
	$(PYENV) .cache/certbot certbot==5.8.0
	@mkdir -p $(@D) && ln -sf ../certbot/bin/certbot $@

$(EXAMPLES:%=env-example-%): env-example-%:
	$(PYENV) $(PY)/example-$* $$(cat examples/$*/requirements.txt)

# What a release consists of, and how it is verified, is in docs/release.md. Its libraries
# are a module of their own, and out of the program's go.mod.
.PHONY: release
release: bin/release ## build VERSION=v1.2.3 in dist/, signed with the SSH key RELEASE_KEY
	bin/release '$(VERSION)'

.PHONY: wheel
wheel: bin/release ## build in dist/ a wheel of what is checked out, for this machine
	bin/release wheel

.PHONY: bin/release
bin/release:
	@cd internal/release && go build -o $(CURDIR)/$@ .

.PHONY: schema
schema: bin/release ## write docs/status.schema.json anew, after entrypoint/status was changed
	bin/release schema

.PHONY: test-release
test-release: ## build a release for all machines, and try each artifact as its user would, also with Docker
	$(REPORT) internal/release -- -timeout 30m $(TESTFLAGS)
