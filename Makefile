# Everything this repository can do from a clean clone. A target installs what it needs, once.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
PORT ?= 8080
FEED ?=
ARGS ?=
FUZZ_SECONDS ?= 60
TARGETS ?=
SECONDS ?= 600
SEED ?=

VENV := .venv
BIN := $(VENV)/bin
RUN_READY := $(VENV)/.ready-to-run
DEV_READY := $(VENV)/.ready-to-develop
NODE_READY := tests/node/node_modules/.ready
SDK_TS := sdk/typescript
SDK_TS_READY := $(SDK_TS)/node_modules/.ready
SDK_TS_BUILT := $(SDK_TS)/dist/index.js

# The live page, made of these by what npm installs; its tests need more of that.
PAGE := marketstream/transports/web/static/index.html
PAGE_LOCK := sdk/page/package-lock.json
PAGE_SOURCES := $(PAGE_LOCK) $(wildcard sdk/page/*.json sdk/page/*.mjs sdk/page/*.html sdk/page/src/* \
	sdk/typescript/src/*.ts sdk/typescript/src/*/*.ts)
PAGE_READY := sdk/page/node_modules/.ready-to-build
PAGE_TEST_READY := sdk/page/node_modules/.ready-to-test

# Most tests wait for something, so more of them than processors run at a time; those of one file share what they start.
WORKERS ?= 3
# Most of them wait, so that what only computes is done meanwhile.
BESIDE ?= test-node
PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -p no:benchmark

# The tests find the Node of the virtual environment, where there is one, before any other.
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: help run page wheel setup test test-all fuzz test-node chaos mutants bench lint format types imports check clean

help: ## list the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' Makefile

run: $(RUN_READY) $(PAGE) ## start the server with its page on http://127.0.0.1:8080/ (PORT=, FEED='SPEC SPEC')
	@echo "run: http://127.0.0.1:$(PORT)/ (Ctrl-C stops it)"
	@exec $(BIN)/marketstream serve --dev --port $(PORT) $(foreach spec,$(FEED),--feed '$(spec)')

page: $(PAGE) ## build the live page into the package

wheel: $(PAGE) ## build a wheel that holds the page into dist
	@$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist .
	@ls -l dist/*.whl

setup: $(DEV_READY) $(NODE_READY) $(SDK_TS_BUILT) $(PAGE) $(PAGE_TEST_READY) ## install what the tests and checks need
	@.ci/chromium >/dev/null
	@.ci/balancers

test: setup ## run the tests (ARGS= goes to pytest; MARKETSTREAM_TAPES= names recorded tapes)
	@CHROMIUM="$$(.ci/chromium)" .ci/beside '$(BESIDE)' $(PYTEST) -m 'not slow' $(ARGS)

test-all: setup ## run the tests, the slow ones too
	@CHROMIUM="$$(.ci/chromium)" .ci/beside '$(BESIDE)' $(PYTEST) $(ARGS)

test-node: $(SDK_TS_READY) $(PAGE_TEST_READY) ## check the types of the TypeScript SDK and the live page, run their tests
	@cd $(SDK_TS) && npm test --silent
	@cd sdk/page && npm test --silent

chaos: $(DEV_READY) $(NODE_READY) ## hurt a whole system at random and hold it to its promises (SECONDS=600, SEED=)
	@CHAOS_SECONDS=$(SECONDS) CHAOS_SEED=$(SEED) $(BIN)/python -m pytest tests/chaos -p no:benchmark -s $(ARGS)

fuzz: $(DEV_READY) ## let atheris try every parser of outside bytes (FUZZ_SECONDS= each, TARGETS= some of them)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --group fuzz
	@for target in $(or $(TARGETS),$$($(BIN)/python -c 'from tests.fuzz.targets import TARGETS; print(*TARGETS)')); do \
		echo "fuzz: $$target for $(FUZZ_SECONDS) s"; \
		$(BIN)/python -m tests.fuzz.run $$target -max_total_time=$(FUZZ_SECONDS) -verbosity=0; \
	done

mutants: $(DEV_READY) ## change core, coordination and bus in small ways and see whether the tests notice (SECONDS=600, SEED=1)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --group mutants
	@$(BIN)/python -m tests.mutation.run $(SECONDS) $(or $(SEED),1) $(ARGS)

bench: $(DEV_READY) $(NODE_READY) $(SDK_TS_BUILT) ## measure; nothing here passes or fails
	@$(BIN)/python -m pytest tests/benchmarks --benchmark-only $(ARGS)

lint: $(DEV_READY) ## check style and format
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

format: $(DEV_READY) ## format, and mend what can be mended
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

types: $(DEV_READY) ## check types
	@$(BIN)/mypy

imports: $(DEV_READY) ## check that imports point down the line only
	@$(BIN)/lint-imports

check: BESIDE := lint imports types test-node
check: test ## all of the checks and the tests

clean: ## remove what the other targets made
	rm -rf $(VENV) tests/node/node_modules tests/artifacts dist build .benchmarks .hypothesis .import_linter_cache
	rm -rf .mypy_cache .pytest_cache .ruff_cache $(SDK_TS)/node_modules $(SDK_TS)/dist sdk/page/node_modules $(dir $(PAGE))
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@.ci/venv $(PYTHON) $(VENV)

$(RUN_READY): pyproject.toml sdk/python/pyproject.toml | $(BIN)/python
	@echo "setup: installing marketstream, its Python SDK and what they need into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable . --editable sdk/python
	@touch $@

# A venv starts with the pip of its Python; `--group` needs 25.1.
$(DEV_READY): $(RUN_READY)
	@echo "setup: installing the tools of the tests into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check 'pip>=25.1'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --group dev
	@touch $@

$(NODE_READY): tests/node/package-lock.json tests/node/package.json | $(BIN)/python
	@.ci/node $(VENV)
	@echo "setup: installing the Node packages of the tests"
	@cd tests/node && npm ci --silent
	@touch $@

$(SDK_TS_READY): $(SDK_TS)/package-lock.json $(SDK_TS)/package.json | $(BIN)/python
	@.ci/node $(VENV)
	@echo "setup: installing the Node packages of the TypeScript SDK"
	@cd $(SDK_TS) && npm ci --silent
	@touch $@

$(SDK_TS_BUILT): $(SDK_TS_READY) $(SDK_TS)/tsup.config.ts $(SDK_TS)/tsconfig.json $(shell find $(SDK_TS)/src -type f)
	@echo "setup: building the TypeScript SDK"
	@cd $(SDK_TS) && npm run build --silent -- --silent

$(PAGE_READY): $(PAGE_LOCK) | $(BIN)/python
	@.ci/node $(VENV)
	@echo "setup: installing what the live page is built with"
	@cd sdk/page && npm ci --omit=dev --silent
	@touch $@

# What it installs is more of the same, and takes away what was there.
$(PAGE_TEST_READY): $(PAGE_LOCK) | $(PAGE)
	@echo "setup: installing what the live page is tested with"
	@cd sdk/page && npm ci --silent
	@touch $(PAGE_READY) $@

$(PAGE): $(PAGE_SOURCES) | $(PAGE_READY)
	@cd sdk/page && npm run --silent build
