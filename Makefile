# `make` alone lists the targets. Each one sets up what it needs in .venv by itself.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
COMPILE := $(BIN)/pip-compile --quiet --generate-hashes --allow-unsafe --strip-extras --no-emit-index-url \
	--no-emit-find-links --no-emit-trusted-host --no-emit-options

.DEFAULT_GOAL := help
.PHONY: help install demo up test check audit chaos simulate stories protections bench lock schemas docs client sbom image clean

help: ## List the targets
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 20

install: $(READY) ## Set up .venv from requirements-dev.lock (hash-checked)

$(READY): requirements-dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; $(PYTHON) is $$($(PYTHON) --version). Try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation \
		--editable . --editable clients/python
	@touch $(READY)

demo: $(READY) ## The main job on real orders: queue to event, on its own servers, about half a minute
	$(BIN)/loyalty demo

up: $(READY) ## Run everything in the foreground (servers too, if none are named) until Ctrl-C
	$(BIN)/loyalty up

test: $(READY) ## All tests, in two processes; servers come from wheels, RabbitMQ tests need LOYALTY_TEST_RABBITMQ_URL
	$(BIN)/python -m pytest -n 2 $(PYTEST_ARGUMENTS)

check: $(READY) ## ruff, mypy strict, import arrows, schemas and the AsyncAPI document up to date
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy docs/asyncapi.py docs/asyncapi_page.py clients/python/generate_types.py
	$(BIN)/python -m pytest -q tests/test_architecture.py tests/messages/test_schemas.py tests/messages/test_asyncapi.py \
		tests/clients/test_client_types.py

audit: $(READY) ## Known vulnerabilities of the locked packages; asks the advisory service of the package index
	$(BIN)/pip-audit --strict --disable-pip --require-hashes --requirement requirements-dev.lock

chaos: $(READY) ## Random faults against real processes; RUNS=1 SEED=.. BROKER=both FAULTS=a,b SOAK=1000000 SEEDS=2000
	$(if $(SEEDS),$(BIN)/python -m tests.interleaving --seeds $(SEEDS) --from $(or $(FROM),0))
	$(BIN)/python -m tests.faults --runs $(or $(RUNS),1) --broker $(or $(BROKER),both) \
		$(if $(SEED),--seed $(SEED)) $(if $(FAULTS),--faults $(FAULTS)) $(if $(SOAK),--soak $(SOAK))

simulate: $(READY) ## Seeded interleavings and deaths on a real PostgreSQL; SEEDS=2000 FROM=0
	$(BIN)/python -m tests.interleaving --seeds $(or $(SEEDS),200) --from $(or $(FROM),0)

stories: $(READY) ## Random stories of an account, each under a program of its own, against a second model; STORIES=100000 FROM=0
	$(BIN)/python -m tests.domain --stories $(or $(STORIES),4000) --from $(or $(FROM),0)

protections: $(READY) ## Take each protection out of a copy of the tree and see that something says so; ONLY="part of a name"
	$(BIN)/python -m tests.protections $(if $(ONLY),--only "$(ONLY)")

bench: $(READY) ## Benchmarks, about four minutes; BENCH_ARGUMENTS="--full" for all data, --help for the rest
	$(BIN)/python -m benchmarks $(BENCH_ARGUMENTS)

lock: $(READY) ## Make the locks anew from pyproject.toml: what runs, what builds the package, and all that development needs
	$(COMPILE) --output-file requirements.lock pyproject.toml
	$(COMPILE) --extra traces --constraint requirements.lock --output-file requirements-traces.lock pyproject.toml
	$(COMPILE) --only-build-deps --build-deps-for wheel --output-file requirements-build.lock pyproject.toml
	$(COMPILE) --all-extras --constraint requirements-traces.lock --constraint requirements-build.lock \
		--output-file requirements-dev.lock pyproject.toml

schemas: $(READY) ## Write the JSON Schemas of all messages to docs/schemas
	$(BIN)/python -m core.messages.schemas docs/schemas

docs: $(READY) ## Write what is generated of docs: tables, the AsyncAPI document and its page
	$(BIN)/python docs/generate.py
	$(BIN)/python docs/asyncapi.py
	$(BIN)/python docs/asyncapi_page.py

client: $(READY) ## Write the types of clients/python from docs/schemas, and build its wheel in build/
	$(BIN)/python clients/python/generate_types.py
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation --wheel-dir build clients/python

sbom: $(READY) ## Write what the image is made of, as CycloneDX, to build/sbom.json
	@mkdir -p build
	$(BIN)/cyclonedx-py requirements --pyproject pyproject.toml --output-reproducible --output-format JSON \
		--output-file build/sbom.json requirements.lock

image: ## Build the container image; PYTHON_IMAGE=python:3.11-slim-trixie@sha256:.., LOCK=requirements-traces.lock
	SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) docker buildx build \
		--output type=docker,name=loyalty-worker,rewrite-timestamp=true \
		$(if $(PYTHON_IMAGE),--build-arg PYTHON_IMAGE=$(PYTHON_IMAGE)) $(if $(LOCK),--build-arg LOCK=$(LOCK)) \
		--build-arg VERSION=$$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml) \
		--build-arg REVISION=$$(git rev-parse HEAD) --build-arg CREATED=$$(git log -1 --format=%cI) .

clean: ## Remove what builds and tests left (not .loyalty, which holds data)
	rm -rf build dist .loyalty-demo .loyalty-bench .loyalty-replay .mypy_cache .ruff_cache .pytest_cache .hypothesis
