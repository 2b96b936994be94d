# The one list of tasks, for people and for CI.
PYTHON ?= python3.11
BIN := .venv/bin
export DO_NOT_TRACK := true
export PYTHONDONTWRITEBYTECODE :=

.PHONY: run test test-all check bench lock clean

run: .venv/ready   ## the main job: log -> models -> report, and what to do next
	@$(BIN)/sensei run

test: .venv/ready   ## every test that takes seconds
	@$(BIN)/pytest -q

test-all: .venv/ready   ## also the slow stories
	@$(BIN)/pytest -q -m "slow or not slow"

check: .venv/ready   ## style, types, direction of imports
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports

bench: .venv/ready   ## speed and memory against peers, as ratios (LARGE=1 adds 10 M rows)
	@for b in benchmarks/bench_*.py; do echo "== $$b"; $(BIN)/python $$b $(if $(LARGE),--large) || exit 1; done

.venv/ready: requirements.lock pyproject.toml
	@echo "Making the environment in .venv (about 3 GB, once) ..."
	@$(PYTHON) -m venv .venv
	@$(BIN)/pip install --quiet --disable-pip-version-check uv
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

lock:   ## resolve the pins again, without index addresses
	uv pip compile --python-version 3.11 --universal --all-extras --generate-hashes \
	  --no-emit-index-url --no-annotate --no-header pyproject.toml -o requirements.lock

clean:   ## remove what runs wrote (SENSEI_HOME) but keep the environment
	rm -rf var
