# Every target does its own set-up: Python 3.11 or newer and make are enough.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
TORCH ?= torch==2.13.0
RECIPE ?= tiny
OUT ?= runs/solver
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile
# On all cores, where pip takes one; and without the packages' tests and hundreds of models, most of which nobody imports.
# What does not compile is no fault: some packages carry templates.
COMPILE := $(BIN)/python -W ignore -m compileall -qq -j 0 -x '/tests?/|/transformers/models/' $(VENV)/lib || true

.PHONY: demo problems solver test fast lint check page doctor clean help

help:
	@echo "make demo    the whole story: search the shipped problems with two local models, train experts on what was"
	@echo "             solved, answer a new problem with them (15 minutes on two cores; downloads 1.9 GB once)"
	@echo "make solver PROBLEMS=mbpp:train DATA=DIR"
	@echo "             the full pipeline on problems of your own: collect, distil, serve; also RECIPE and OUT;"
	@echo "             the same command again goes on where it was cut off"
	@echo "make test    run the test suite; with BDC_TEST_EXHAUSTIVE=1 what it samples, too: moments of a kill, budgets"
	@echo "make fast    run its quick part, without models, sandboxes and other processes (4 minutes)"
	@echo "make lint    ruff and pyright"
	@echo "make page    build the page of trees from frontend/ (needs Node; for who changes it alone)"
	@echo "make docs    build the documentation site, build/docs/site/index.html; a broken link is an error"
	@echo "make doctor  say what this machine can do and what is missing"

demo: $(VENV)/.distill
	$(BIN)/bdc demo --distill --minutes 6 --traces experts/traces/second.jsonl.gz --out runs/demo

problems:
	@test -n "$(PROBLEMS)" || { \
		echo "name the problems, as bdc collect takes them: make solver PROBLEMS=mbpp:train DATA=DIR"; exit 2; }

solver: problems $(VENV)/.serve
	@# 1: rows of the file cannot be used, as it says; what was collected is enough to go on with.
	$(BIN)/bdc collect $(PROBLEMS) --out $(OUT)/traces $(if $(DATA),--data $(DATA)) || [ $$? -eq 1 ]
	$(BIN)/bdc distill $(OUT)/traces --recipe $(RECIPE) --one-expert --out $(OUT)/library
	$(BIN)/bdc serve $(OUT)/library

# Where it is set, each process that a test starts would compile the package anew.
test fast: export PYTHONDONTWRITEBYTECODE :=

# Two processes take two thirds of the time of one; a file's tests stay together, since they share loaded models.
test: $(VENV)/.dev
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

fast: $(VENV)/.dev
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow"

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

docs: $(VENV)/.docs
	$(BIN)/python -m website

check: lint test

page:
	cd frontend && npm ci --ignore-scripts && npm run check && npm run build

doctor: $(VENV)/.local
	$(BIN)/bdc doctor

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed, $(PYTHON) is older: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.local: pyproject.toml | $(BIN)/python
	$(INSTALL) -e '.[local]'
	$(COMPILE)
	touch $@

# torch first and alone, so that its build for this machine is the one that the rest builds on.
$(VENV)/.distill: $(VENV)/.local
	$(INSTALL) '$(TORCH)'
	$(INSTALL) -e '.[local,distill]'
	$(COMPILE)
	touch $@

$(VENV)/.serve: $(VENV)/.distill
	$(INSTALL) -e '.[local,distill,serve]'
	$(COMPILE)
	touch $@

$(VENV)/.docs: $(VENV)/.serve
	$(INSTALL) -e '.[local,distill,serve,docs]'
	touch $@

# All of the above in one go.
$(VENV)/.dev: pyproject.toml | $(BIN)/python
	$(INSTALL) '$(TORCH)'
	$(INSTALL) -e '.[local,distill,report,parquet,serve,dev]'
	$(COMPILE)
	touch $(VENV)/.local $(VENV)/.distill $(VENV)/.serve $@

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache
