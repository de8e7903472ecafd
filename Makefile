# Two commands: `make demo` trains the water force field and reports on it; `make test` runs every test.
# Each sets itself up in .venv, can be repeated, and says at its end what was made and where.

PYTHON ?= python3
# The CPU build is enough for everything here. Where pip would fetch a CUDA build and you do not want it,
# pass the index of PyTorch's CPU wheels: make demo TORCH_ARGS="--index-url ..."
TORCH ?= torch==2.13.0
TORCH_ARGS ?=
RUN ?= runs/water
CONFIG ?= tutorials/water.yaml
# Extra arguments of `irrepnet train`, for instance TRAIN_ARGS="--set training.minutes=1"
TRAIN_ARGS ?=

VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip install --quiet --disable-pip-version-check
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.ONESHELL:
.DELETE_ON_ERROR:
.PHONY: help demo test lint clean

help:
	@echo "make demo   set up, train a water force field, run MD, write $(RUN)/report.html (about 10 minutes on 2 cores)"
	echo "make test   set up, run all tests, doctests and tutorials (about 10 minutes on 2 cores)"
	echo "make lint   ruff, mypy and the import floors"
	echo "make clean  remove $(VENV) and build leftovers (runs/ stays)"

$(VENV)/.torch:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "irrepnet needs Python >= 3.10; $(PYTHON) is $$($(PYTHON) -V). Use: make PYTHON=/path/to/python3" >&2; exit 2; }
	echo "[set-up 1/3] virtual environment $(VENV) ($$($(PYTHON) -V))"
	$(PYTHON) -m venv $(VENV)
	echo "[set-up 2/3] $(TORCH)"
	$(PIP) $(TORCH_ARGS) "$(TORCH)"
	$(PIP) "setuptools>=77" wheel
	touch $@

# An editable install: the extension is compiled against the torch just installed, or left out, saying why.
$(VENV)/.demo: $(VENV)/.torch pyproject.toml setup.py $(wildcard csrc/*.cpp csrc/*/*)
	@echo "[set-up 3/3] irrepnet, its extension and the extras md and report"
	$(PIP) --no-build-isolation -e ".[md,report]"
	$(VENV)/bin/irrepnet doctor
	touch $@

$(VENV)/.dev: $(VENV)/.torch pyproject.toml setup.py $(wildcard csrc/*.cpp csrc/*/*)
	@echo "[set-up 3/3] irrepnet, its extension and everything its tests need"
	$(PIP) --no-build-isolation -e ".[dev]"
	$(VENV)/bin/irrepnet doctor
	touch $@ $(VENV)/.demo

# --resume starts a run where there is none, goes on with an interrupted one, and only reports a finished one again.
demo: $(VENV)/.demo
	@echo "[demo] the water force field in $(RUN) (RUN=other/folder starts afresh)"
	$(VENV)/bin/irrepnet train $(CONFIG) --out $(RUN) --resume $(TRAIN_ARGS)

# torch-scatter and torch-cluster have no wheels: they are compiled in the background while the other tests run.
# They are optional, so a failed build is reported and does not fail the tests.
test: $(VENV)/.dev
	@graph="$(VENV)/graph-extra.log"; build=
	if $(PY) -c 'import torch_scatter, torch_cluster' 2>/dev/null; then
	  echo "[test] torch-scatter and torch-cluster are installed"
	else
	  echo "[test] compiling torch-scatter and torch-cluster in the background (log: $$graph)"
	  ( for package in torch-scatter torch-cluster; do
	      nice $(PY) -m pip install --disable-pip-version-check --no-build-isolation $$package || failed=1
	    done; exit $${failed:-0} ) > "$$graph" 2>&1 & build=$$!
	  trap 'pkill -P $$build 2>/dev/null || true' EXIT
	fi
	echo "[test] all tests but those of the graph extra"
	$(PY) -m pytest -m "not graph" --durations=15
	if [ -n "$$build" ]; then
	  echo "[test] waiting for torch-scatter and torch-cluster"
	  wait "$$build" || echo "[test] they did not build (see $$graph); irrepnet works without them, their tests are skipped:"
	fi
	$(PY) -m pytest -m graph -rs
	echo "[test] done: all tests passed (environment in $(VENV), $$($(VENV)/bin/irrepnet doctor | grep ^backend | tr -s " "))"

lint: $(VENV)/.dev
	@$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy irrepnet
	$(VENV)/bin/lint-imports

clean:
	@rm -rf $(VENV) build dist *.egg-info irrepnet/_ops*.so irrepnet/_build_info.json
	echo "removed $(VENV) and build leftovers"
