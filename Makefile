# Every target sets up what it needs: a fresh machine has Python >= 3.11, make and the registries.
.DEFAULT_GOAL := help
SHELL := /bin/sh

# The first interpreter on the path that runs and is new enough (a shim may exist and refuse),
# with what makes an environment if there is one.
NEW := import sys; sys.exit(sys.version_info < (3, 11))
find = $(shell for p in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	$$p -c '$(1)$(NEW)' 2>/dev/null && echo $$p && break; done)
PYTHON ?= $(or $(call find,import ensurepip; import venv; ),$(call find))
# Two processes, a file of tests at a time, the longest first (tests/conftest.py): each has its own
# server, unless one was given.
SPLIT := -n 2 --dist loadfile --no-loadscope-reorder
VENV := .venv
RUN := $(VENV)/bin/python
# What these test is SQL, pages and tools, not the Python of the package.
OTHERS := chaos docs fleet histories plans races sqllint tooling typing upgrade
COVERED = tests/api $(filter-out $(OTHERS:%=tests/python/%),$(wildcard tests/python/*))

.PHONY: help venv demo test test-pythons test-postgres test-upgrade check check-long coverage docs \
	bench bench-full chaos mutate mutate-python migration clean

help:
	@echo 'make demo       set up all, then do the main job on real input, and show it'
	@echo 'make test       set up all, then run the tests, SQL and Python'
	@echo 'make check      test, and format, lint, types, imports, SQL style and lock'
	@echo 'make check-long  what is too long for check: forty-five minutes at most'
	@echo 'make coverage   run the tests of the Python, and fail if too many branches are missed'
	@echo 'make test-pythons  run the tests with each Python >= 3.11 that there is'
	@echo 'make test-postgres  run the tests that meet the server on PostgreSQL 15, 16, 17 and 18'
	@echo 'make test-postgres POSTGRES=16  on one of them'
	@echo 'make test-upgrade  run the version before this one on the schema of this one'
	@echo 'make docs       build the site of docs/ into build/site; a warning is an error'
	@echo 'make bench      ours beside 3.10 and graphile-worker, six cases: ten minutes at most'
	@echo 'make bench BENCH=exchange  a case of the engine alone: the figures that decisions quote'
	@echo 'make bench-full  ours beside six other queues: an hour or two, goes on where it was'
	@echo 'make mutate     break the SQL in one place at a time, print what no test notices: hours'
	@echo 'make mutate-python  the same for the Python of rpc/ and worker/: hours'
	@echo 'make chaos      200 faults of 15 kinds, drawn by a seed: was anything lost? 20 minutes'
	@echo 'make chaos CHAOS=--short  30 of them; --soak 600: at half speed, a fault each 20 s'
	@echo 'make migration WHAT=what_it_does  draft a migration from what changed since the lock'
	@echo 'make venv       set up the environment, in .venv; the others do it themselves'
	@echo 'make clean      remove what these commands have made'

venv: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml tools/setup.sh
	@PYTHON='$(PYTHON)' VENV='$(VENV)' sh tools/setup.sh

demo: venv
	@$(RUN) -m tools.demo

test: venv
	@$(RUN) -m pytest $(SPLIT) $(PYTEST)

# Each in an environment of its own, with the tests' own results: all run, whatever one finds.
test-pythons:
	@failed=''; for python in $$(sh tools/pythons.sh); do \
	$(MAKE) --no-print-directory test PYTHON="$$python" \
	VENV=".cache/pythons/$$("$$python" -c 'import platform; print(platform.python_version())')" \
	|| failed="$$failed $$python"; done; \
	[ -z "$$failed" ] || { echo "FAILED:$$failed"; exit 1; }

test-postgres: venv
	@$(RUN) -m tools.postgres $(POSTGRES) $(SPLIT) $(PYTEST)

test-upgrade: venv
	@PROCRASTINATE_REQUIRE_UPGRADE=1 $(RUN) -m pytest tests/python/upgrade $(PYTEST)

check: venv
	@$(RUN) -m tools.check $(SPLIT) $(PYTEST)

check-long: venv
	@$(RUN) -m tools.check_long $(COVERED)

coverage: venv
	@$(RUN) -m pytest $(SPLIT) --cov --cov-report=term --cov-report=json:.cache/coverage.json \
	$(PYTEST) $(COVERED)
	@$(RUN) -m tools.branches

docs: venv
	@NO_MKDOCS_2_WARNING=1 $(RUN) -m mkdocs build --quiet --strict
	@echo build/site/index.html

bench: venv
	@$(RUN) -m benchmarks $(BENCH)

bench-full: venv
	@$(RUN) -m benchmarks.peers --full $(BENCH)

mutate: venv
	@$(RUN) -m tools.mutate_sql $(MUTATE)

mutate-python: venv
	@$(RUN) -m tools.mutate_python $(MUTATE_PYTHON)

chaos: venv
	@$(RUN) -m tools.chaos $(CHAOS)

migration: venv
	@$(RUN) -m tools.lock draft $(WHAT)

clean:
	rm -rf $(VENV) .cache dist build .hypothesis .mypy_cache .pytest_cache .ruff_cache
