# Every target sets up what it needs: a fresh machine has Python >= 3.11, make and the registries.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/sh

# The first interpreter on the path that runs and is new enough (a shim may exist and refuse).
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	$$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help venv demo test check bench migration clean

help:
	@echo 'make venv       the environment: .venv, with what development needs'
	@echo 'make demo       set up all, then show the main job on real input'
	@echo 'make test       set up all, then run the tests, SQL and Python'
	@echo 'make check      test, and format, lint, types, imports and lock'
	@echo 'make bench      print the figures that the decisions quote'
	@echo 'make migration  draft a migration from what changed since the lock'
	@echo 'make clean      remove what these commands made'

venv: $(READY)

$(READY): pyproject.toml tools/setup.sh
	@PYTHON='$(PYTHON)' VENV='$(VENV)' sh tools/setup.sh

demo: venv
	@$(BIN)/python -m tools.demo

test: venv
	@$(BIN)/python -m tools.run pytest

check: venv
	@$(BIN)/python -m tools.run check

bench: venv
	@$(BIN)/python -m benchmarks

migration: venv
	@$(BIN)/python -m tools.lock migration

clean:
	@if [ -x $(BIN)/python ]; then $(BIN)/python -m tools.run stop || :; fi
	rm -rf $(VENV) .cache dist build .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
