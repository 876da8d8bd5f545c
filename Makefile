# The commands of this repository; `make` lists them. What they need is installed into .venv on first use.
SHELL := /bin/bash
PIPELINE ?= text_single_classification
PYTHON ?= $(firstword $(foreach name,python3.11 python3.12 python3.13 python3,$(shell $(name) -c 'print("$(name)")' 2>/dev/null)))
VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip install --quiet --disable-pip-version-check --no-input
# All tests take two processes, a file of tests at a time: half of their time is waiting for other processes.
SIDE_BY_SIDE := -n 2 --dist loadfile
# Without its cached byte code every process would start seconds later.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help run up runs show watch cancel retry doctor new-pipeline new-job add-pipeline test simulate check format clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(VENV)/run.stamp ## A sample model run from the signed request to COMPLETE (PIPELINE=name, ARGS="--duplicate ...")
	@$(PY) -m local run --pipeline $(PIPELINE) $(ARGS)

up: $(VENV)/run.stamp ## Keep everything running, and print how to start a training (ARGS="--export FILE")
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

check: $(VENV)/dev.stamp ## Lint, format and types
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

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
