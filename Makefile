# The commands of this repository; `make` lists them. What they need is installed into .venv on first use.
SHELL := /bin/bash
PIPELINE ?= text_single_classification
PYTHON ?= $(firstword $(foreach name,python3.11 python3.12 python3.13 python3,$(shell $(name) -c 'print("$(name)")' 2>/dev/null)))
VENV := .venv
# Apart, because it is larger than all the rest and pins other versions of it.
LINT_IAC := .local/lint-iac
PY := $(VENV)/bin/python
PIP := $(PY) -m pip install --quiet --disable-pip-version-check --no-input
# All tests take two processes, a file of tests at a time: half of their time is waiting for other processes.
SIDE_BY_SIDE := -n 2 --dist loadfile
AXE_VERSION := 4.14.1
# Without its cached byte code every process would start seconds later.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help bench run run-all up runs show watch cancel retry doctor new-pipeline new-job add-pipeline test simulate chaos test-images test-accessibility check lint-iac lock-weights format clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(VENV)/run.stamp ## A sample model run from the signed request to COMPLETE (PIPELINE=name, ARGS="--keep --duplicate ...")
	@$(PY) -m local run --pipeline $(PIPELINE) $(ARGS)

run-all: $(VENV)/run.stamp ## A sample run of every model type, one after the other, and a table (ARGS="--pipelines ner,...")
	@$(PY) -m local run-all $(ARGS)

up: $(VENV)/run.stamp ## Keep everything running, with a page in the browser to train and look (ARGS="--open --export FILE")
	@$(PY) -m local up --pipeline $(PIPELINE) $(ARGS)

runs: $(VENV)/ops.stamp ## The newest training runs: of `make up`, or of the deployment that the environment names
	@$(PY) -m ops runs $(ARGS)

show: ## One run whole: make show RUN=id; so do watch, cancel and retry
show watch cancel retry: $(VENV)/ops.stamp
	@$(PY) -m ops $@ $(if $(RUN),$(RUN),$(error name a run: make $@ RUN=id)) $(ARGS)

doctor: $(VENV)/ops.stamp ## Check a deployment; docs/operating.md has the other commands
	@$(PY) -m ops doctor $(ARGS)

new-pipeline: $(VENV)/run.stamp ## A pipeline of your own, which runs at once: make new-pipeline NAME=my_texts [LIKE=ner]
	@$(PY) -m scaffold new-pipeline "$(or $(NAME),$(error name it: make $@ NAME=my_texts))" $(if $(LIKE),--like "$(LIKE)")

new-job: $(VENV)/run.stamp ## A job of your own, with image and test: make new-job NAME=my_check [STAGE=etl]
	@$(PY) -m scaffold new-job "$(or $(NAME),$(error name it: make $@ NAME=my_check))" $(if $(STAGE),--stage "$(STAGE)")

add-pipeline: $(VENV)/run.stamp ## Copy a folder's pipeline and jobs to where they deploy from: make add-pipeline FROM=examples/...
	@$(PY) -m scaffold add-pipeline "$(or $(FROM),$(error name the folder: make $@ FROM=examples/...))"

test: $(VENV)/dev.stamp ## All tests, the runs from end to end among them (ARGS="tests/functions -k ...")
	$(PY) -m pytest $(or $(ARGS),$(SIDE_BY_SIDE))

simulate: $(VENV)/dev.stamp ## The engine under every fault: make simulate SCHEDULES=100000 SEED=1
	@PYTHONPATH=functions:. $(PY) -m simulation --schedules $(or $(SCHEDULES),10000) --seed $(or $(SEED),1) $(ARGS)

bench: $(VENV)/dev.stamp ## Measure everything beside its limit or peer: one table and benchmarks/results.json (ONLY="texts boxes")
	@$(PY) -m benchmarks $(or $(ONLY),--write)

# Where no registry of images can be reached, root and debootstrap make a base image of the distribution's packages.
test-images: $(VENV)/dev.stamp ## Build and run every job image for real, with podman or docker (IMAGES="train/ner etl/ner")
	@engine="$${CONTAINER_ENGINE:-$$(command -v podman || command -v docker)}"; \
	  [ -n "$$engine" ] || { echo "This needs podman or docker, or CONTAINER_ENGINE=/path/to/one." >&2; exit 1; }; \
	  CONTAINER_ENGINE="$$engine" JOB_IMAGES="$(IMAGES)" IMAGE_FIGURES=.local/images.md $(PY) -m pytest tests/terraform/test_images.py $(ARGS)
	@cat .local/images.md

chaos: $(VENV)/dev.stamp ## Twenty runs at once while all around them breaks: make chaos SEEDS="1 2 3" (minutes a seed)
	@for seed in $(or $(SEEDS),1 2 3); do \
	  FAULT_SEED=$$seed FAULT_RUNS=$(or $(RUNS),20) FAULT_ROUNDS=3 FAULT_OUTAGE_S=10 \
	    $(PY) -m pytest -n 0 -q tests/end_to_end/test_faults.py || exit 1; \
	done

# In its own folder under .local: it is of another licence than this, and large.
test-accessibility: $(VENV)/dev.stamp ## axe-core over console and reports in Chromium; npm fetches it (AXE_CORE=/path/to/axe.min.js)
	@[ -n "$(AXE_CORE)" ] || [ -f .local/axe/package/axe.min.js ] || { mkdir -p .local/axe && cd .local/axe && \
	  npm pack --silent axe-core@$(AXE_VERSION) >/dev/null && tar xzf axe-core-$(AXE_VERSION).tgz; }
	AXE_CORE="$(or $(AXE_CORE),$(CURDIR)/.local/axe/package/axe.min.js)" $(PY) -m pytest -k shut_out \
	  tests/local/test_console.py tests/jobs/report/test_in_chromium.py

check: $(VENV)/dev.stamp ## Lint, format and types; terraform's too where it is installed
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	@$(PY) -m tests.terraform.check

# CKV_DOCKER_2 wants a HEALTHCHECK, which a container that runs to its end has no use for.
lint-iac: $(LINT_IAC)/stamp ## Check terraform/ and the Dockerfiles with checkov, in an environment of its own (300 MB)
	@$(LINT_IAC)/bin/checkov --directory terraform --framework terraform --skip-download --quiet --compact $(ARGS)
	@$(LINT_IAC)/bin/checkov --directory jobs --framework dockerfile --skip-check CKV_DOCKER_2 --skip-download --quiet --compact $(ARGS)

lock-weights: $(VENV)/run.stamp ## Lock the weights that GPU images bake in; needs the hub (ARGS="--upgrade NAME")
	@PYTHONPATH=jobs $(PY) -m weights.fill $(ARGS)

format: $(VENV)/dev.stamp ## Format the code and mend what the linter can
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

clean: ## Remove all that these commands made (.venv, .local, caches)
	rm -rf $(VENV) .local .pytest_cache .mypy_cache .ruff_cache
	find functions jobs local tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(PY):
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null || \
	  { echo "This needs Python 3.11, 3.12 or 3.13; '$(PYTHON)' is none. Name one: make PYTHON=/path/to/python3.12 ..." >&2; exit 1; }
	@echo "making $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV)

# Two stamps, so that `make run` on a fresh machine does not wait for the tools of the tests.
$(VENV)/run.stamp: requirements.txt local/requirements.txt | $(PY)
	@echo "installing what the functions and the embedded cloud need (once)"
	@$(PIP) -r local/requirements.txt
	@touch $@

$(VENV)/ops.stamp: requirements.txt ops/requirements.txt | $(PY)
	@echo "installing what the operator's commands need (once)"
	@$(PIP) -r ops/requirements.txt
	@touch $@

$(VENV)/dev.stamp: requirements.txt local/requirements.txt requirements-dev.txt | $(PY)
	@echo "installing what the tests and checks need (once)"
	@$(PIP) -r requirements-dev.txt
	@touch $@ $(VENV)/run.stamp

$(LINT_IAC)/stamp: tests/terraform/requirements-lint.txt | $(PY)
	@echo "installing checkov into $(LINT_IAC) (once)"
	@$(PY) -m venv $(LINT_IAC)
	@$(LINT_IAC)/bin/python -m pip install --quiet --disable-pip-version-check --no-input -r $<
	@touch $@
