# The one list of tasks, for people and for CI.
PYTHON ?= python3.11
BIN := .venv/bin
SENSEI_HOME ?= var

# Every library quiet, offline, and inside SENSEI_HOME; `sensei` sets the same for itself.
export SENSEI_HOME
export DO_NOT_TRACK := true
export MLFLOW_DISABLE_TELEMETRY := true
export PREFECT_SERVER_ANALYTICS_ENABLED := false
export PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE := prefect.server.concurrency.lease_storage.filesystem
export MLFLOW_SERVER_ENABLE_JOB_EXECUTION := false
export MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR := false
export PREFECT_HOME ?= $(abspath $(SENSEI_HOME))/prefect
export PROJECT_ROOT := $(CURDIR)
# Without compiled bytecode each start of TensorFlow takes three times as long.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: run up test test-all check check-tree suites structure bench bench-serve server deploy worker mlflow lock clean

run: .venv/ready   ## the main job: log -> models -> report, and what to do next
	@$(BIN)/sensei run

# One worker per core, up to four; `make test WORKERS=0` runs in one process.
WORKERS ?= logical
PYTEST := $(BIN)/pytest -q --numprocesses=$(WORKERS) --maxprocesses=4 \
  --dist=loadfile --no-loadscope-reorder

test: .venv/ready   ## every test that takes seconds
	@$(PYTEST)

test-all: .venv/ready   ## also the slow stories
	@$(PYTEST) -m "slow or not slow"

check: .venv/ready check-tree   ## style, types, direction of imports, names, language
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports

check-tree: .venv/ready   ## unique names of files and classes, plain language
	@$(BIN)/python -m tools.check_names; names=$$?; $(BIN)/python -m tools.check_language && exit $$names

suites: .venv/ready   ## the expectation suites' files, from the fields of an event and the model inputs
	@$(BIN)/python -m expectations.suite_definitions

structure: .venv/ready   ## sizes, names, language, import chain and calls per request of the tree
	@$(BIN)/python -m tools.structure

bench: .venv/ready   ## speed and memory against peers, as ratios (LARGE=1 adds 10 M rows)
	@for b in benchmarks/bench_*.py; do echo "== $$b"; $(BIN)/python $$b $(if $(LARGE),--large) || exit 1; done

bench-serve: .venv/ready   ## the service under load beside two peers (needs wrk; LARGE=1: 5 M rows)
	@$(BIN)/python benchmarks/bench_serve.py $(if $(LARGE),--large)

up: .venv/ready   ## everything at once in one terminal: Prefect, worker, MLflow, Evidently, service
	@$(BIN)/sensei up

server: .venv/ready   ## the Prefect server with its UI on http://127.0.0.1:4200
	@$(BIN)/python -m flows.local.launch prefect

deploy: .venv/ready   ## work pool, global limit `train` and the deployments, on that server
	@$(BIN)/python -m flows.local.launch deployments

worker: .venv/ready   ## run what the server schedules, until Ctrl-C
	@$(BIN)/python -m flows.local.launch worker

mlflow: .venv/ready   ## MLflow's UI on http://127.0.0.1:5001
	@$(BIN)/python -m flows.local.launch mlflow

.venv/ready: requirements.lock pyproject.toml
	@echo "Making the environment in .venv (3.5 GB, once) ..."
	@$(PYTHON) -m venv .venv
	@$(BIN)/pip install --quiet --disable-pip-version-check uv
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

COMPILE := $(BIN)/uv pip compile --python-version 3.11 --universal --generate-hashes \
  --no-emit-index-url --no-annotate --no-header

lock:   ## resolve the pins of both locks again, without index addresses; common pins agree
	$(COMPILE) --all-extras pyproject.toml -o requirements.lock
	$(COMPILE) --group serving -c requirements.lock -o requirements-serving.lock

clean:   ## remove what runs wrote (SENSEI_HOME) but keep the environment
	rm -rf "$(SENSEI_HOME)"
