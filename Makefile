# exectrail: everything that people and CI run. `make help` lists it.
SHELL := /bin/bash
.DEFAULT_GOAL := help

CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/exectrail
PYTHON ?= python3
# One virtual environment per set of pinned requirements, outside the repo.
VENV := $(CACHE)/venv-$(shell cat requirements/dev.txt | sha256sum | cut -c1-12)-$(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
BIN := $(VENV)/bin
BPF := enricher/sensors/bpf/sensor.bpf.o
NODE := $(PYTHON) -m tests.cluster.node
PARTS := exectrail webhook enricher profiles
NESTED_TESTS := $(addprefix tests/kernel/test_,bpf_on_node.py bpf_exec.py bpf_cgroup_v1.py entering.py nested_node.py) \
  $(addprefix tests/cluster/test_,nested.py origins.py untracked.py cgroups.py)

##@ Use
demo: $(BIN)/.ready ## A real cluster, the chart, a real `kubectl exec`, and the chain it leaves
	@$(BIN)/python -m tests.cluster.demo

cluster-up: ## A real single-node cluster with cert-manager; prints `export KUBECONFIG=`
	@$(NODE) up

cluster-down: ## End it and remove what it made; caches stay
	@$(NODE) down

parts: ## What the node needs, built into the cache: minutes at the first run, then nothing
	@$(NODE) parts

browser: ## Chromium, if it is missing
	@$(NODE) browser

helm: ## Helm of the chart's tests, built into the cache (3 minutes, once) unless HELM names one; no privileges needed
	@$(if $(HELM),,$(NODE) helm)

image: ## The product's image, in the node's and buildah's storage
	@$(NODE) image

quickstart: ## What docs/tasks/quickstart.md says, on kind and on k3d; needs docker, kind, k3d, kubectl, helm
	sh docs/tasks/quickstart/kind.sh && kind delete cluster --name exectrail
	sh docs/tasks/quickstart/k3d.sh && k3d cluster delete exectrail

##@ Test
test: $(BIN)/.ready $(BPF) parts browser ## Every test: unit, browser, load, kernel, cluster
	$(BIN)/pytest --numprocesses=2 --durations=15

test-unit: $(BIN)/.ready helm ## No privileges needed; under a minute
	$(BIN)/pytest --numprocesses=2 tests/unit

test-load: $(BIN)/.ready ## What the webhook bears: attacks, the largest bodies; no privileges, a minute or two
	$(BIN)/pytest tests/load

test-browser: $(BIN)/.ready browser ## Reports in Chromium, as a reader uses them; installs it where it is missing
	$(BIN)/pytest tests/browser

test-kernel: $(BIN)/.ready $(BPF) ## Real audit subsystem and BPF; needs root
	$(BIN)/pytest tests/kernel

test-kernels: $(BIN)/.ready ## The kernel's tests on older and newer kernels, pure cgroup v1 and v2, arm64; in emulators, an hour and more
	$(BIN)/python -m tests.vm

test-cluster: $(BIN)/.ready parts ## On the real node; needs root
	$(BIN)/pytest tests/cluster

test-nested: $(BIN)/.ready $(BPF) parts ## On a node that is a container itself, as with kind: some of the cluster's and kernel's tests; root
	$(BIN)/python -m tests.nested $(BIN)/pytest $(NESTED_TESTS)

test-steady: $(BIN)/.ready $(BPF) parts ## The kernel's tests RUNS times (10) beside the cluster's, with BUSY loops (0); an hour
	$(BIN)/python -m tests.steady --runs=$(or $(RUNS),10) --busy=$(or $(BUSY),0)

coverage: $(BIN)/.ready helm ## Line and branch coverage of the unit tests; fails where it fell; two minutes
	$(BIN)/coverage run -m pytest --quiet tests/unit
	$(BIN)/coverage report

fuzz: $(BIN)/.ready ## Fuzz the parser of audit records for a minute, or for FUZZ_SECONDS; and whose name a process has
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/fuzz.txt
	@mkdir -p build/fuzz
	$(BIN)/python -m tests.fuzz.fuzz_audit_record -max_total_time=$(or $(FUZZ_SECONDS),60) -artifact_prefix=build/ build/fuzz
	WHOSE_NAME_EXAMPLES=1500 $(BIN)/pytest -q --timeout=1200 tests/unit/enricher/test_whose_name_machine.py

lint: $(BIN)/.ready ## Format, lint, types, layers of the parts, words
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	@! grep -rnwIi --file=tests/retired-words.txt --exclude-dir=__pycache__ $(PARTS) docs chart *.md \
	  || { echo "These words are retired: docs/glossary.md has the ones to use."; exit 1; }

bench: $(BIN)/.ready $(BPF) ## Measure; leaves build/bench/*.json
	$(BIN)/python -m bench --node

##@ Maintain
format: $(BIN)/.ready ## Format the code and apply safe fixes
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

requirements: ## Pin all dependencies anew (needs uv)
	for group in image dev fuzz go; do \
	  uv pip compile --group $$group --universal --python-version 3.11 --generate-hashes --upgrade \
	    --no-emit-index-url --no-emit-find-links --no-header --no-annotate -o requirements/$$group.txt; \
	done

clean: ## Remove what builds and tests left in the repo (caches outside stay)
	rm -rf build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .grimp_cache
	find . -name __pycache__ -prune -exec rm -rf {} +
	$(MAKE) -C enricher/sensors/bpf clean

help: ## This list
	@awk 'BEGIN {FS = ":.*## "} \
	  /^##@/ {printf "\n%s\n", substr($$0, 5)} \
	  /^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# No prerequisite: the requirements' digest is in the path.
$(BIN)/.ready:
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || (apt-get update -q && apt-get install -qy python3-venv)
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/dev.txt
	@touch $@

$(BPF): enricher/sensors/bpf/Makefile $(wildcard enricher/sensors/bpf/*.[ch])
	@$(NODE) packages
	$(MAKE) -C enricher/sensors/bpf

.PHONY: demo quickstart cluster-up cluster-down parts browser helm image test test-unit test-load test-browser test-kernel test-kernels test-cluster test-nested test-steady coverage fuzz lint bench format requirements clean help
