# `make` alone lists the targets. Each one sets up what it needs in .venv by itself.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help install demo up test check bench lock schemas docs image clean

help: ## List the targets
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 18

install: $(READY) ## Set up .venv from requirements.lock (hash-checked)

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; $(PYTHON) is $$($(PYTHON) --version). Try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $(READY)

demo: $(READY) ## The main job on real orders: queue to event, on its own servers, about half a minute
	$(BIN)/loyalty demo

up: $(READY) ## Run everything in the foreground (servers too, if none are named) until Ctrl-C
	$(BIN)/loyalty up

test: $(READY) ## All tests; servers come from wheels, RabbitMQ tests need LOYALTY_TEST_RABBITMQ_URL
	$(BIN)/python -m pytest $(PYTEST_ARGUMENTS)

check: $(READY) ## ruff, mypy strict, import arrows, schemas up to date
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_architecture.py tests/messages/test_schemas.py

bench: $(READY) ## Benchmarks, about a minute; BENCH_ARGUMENTS=--full for the whole data set
	$(BIN)/python -m benchmarks $(BENCH_ARGUMENTS)

lock: $(READY) ## Make requirements.lock anew from pyproject.toml
	$(BIN)/pip-compile --quiet --all-extras --generate-hashes --allow-unsafe --strip-extras --no-emit-index-url \
		--no-emit-find-links --no-emit-trusted-host --no-emit-options --output-file requirements.lock pyproject.toml

schemas: $(READY) ## Write the JSON Schemas of all messages to docs/schemas
	$(BIN)/python -m core.messages.schemas docs/schemas

docs: $(READY) ## Write the generated tables of docs/*.md
	$(BIN)/python docs/generate.py

image: ## Build the container image
	docker build --tag loyalty-worker .

clean: ## Remove what builds and tests left (not .loyalty, which holds data)
	rm -rf build dist .loyalty-demo .loyalty-bench .loyalty-replay .mypy_cache .ruff_cache .pytest_cache .hypothesis
