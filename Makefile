# Everything this repository can do from a clean clone. A target installs what it needs, once.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
PORT ?= 8080
FEED ?=
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
RUN_READY := $(VENV)/.ready-to-run
DEV_READY := $(VENV)/.ready-to-develop
NODE_READY := tests/node/node_modules/.ready
SDK_TS := sdk/typescript
SDK_TS_READY := $(SDK_TS)/node_modules/.ready
SDK_TS_BUILT := $(SDK_TS)/dist/index.js

# Most tests wait for something, so more of them than processors run at a time; those of one file share what they start.
WORKERS ?= 3
PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -p no:benchmark

# The tests find the Node of the virtual environment, where there is one, before any other.
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: help run setup test test-all bench lint format types imports check clean

help: ## list the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' Makefile

run: $(RUN_READY) ## start the server with its page on http://127.0.0.1:8080/ (PORT=, FEED='SPEC SPEC')
	@echo "run: http://127.0.0.1:$(PORT)/ (Ctrl-C stops it)"
	@exec $(BIN)/marketstream serve --dev --port $(PORT) $(foreach spec,$(FEED),--feed '$(spec)')

setup: $(DEV_READY) $(NODE_READY) $(SDK_TS_BUILT) ## install what the tests and checks need
	@.ci/chromium >/dev/null
	@.ci/balancers

test: setup ## run the tests (ARGS= goes to pytest; MARKETSTREAM_TAPES= names recorded tapes)
	@cd $(SDK_TS) && npm test --silent
	@CHROMIUM="$$(.ci/chromium)" $(PYTEST) -m 'not slow' $(ARGS)

test-all: setup ## run the tests, the slow ones too
	@cd $(SDK_TS) && npm test --silent
	@CHROMIUM="$$(.ci/chromium)" $(PYTEST) $(ARGS)

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

check: lint types imports test ## all of the checks and the tests

clean: ## remove what the other targets made
	rm -rf $(VENV) tests/node/node_modules tests/artifacts dist build .benchmarks .hypothesis .import_linter_cache
	rm -rf .mypy_cache .pytest_cache .ruff_cache $(SDK_TS)/node_modules $(SDK_TS)/dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@.ci/venv $(PYTHON) $(VENV)

$(RUN_READY): pyproject.toml | $(BIN)/python
	@echo "setup: installing marketstream and what it needs into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
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
