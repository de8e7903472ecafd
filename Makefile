# Two commands: `make demo` trains the water force field and reports on it; `make test` runs every test.
# Each sets itself up in .venv, can be repeated, and says at its end what was made and where.

PYTHON ?= python3
# The CPU build is enough for everything here. Where pip would fetch a CUDA build and you do not want it,
# pass the index of PyTorch's CPU wheels: make demo TORCH_ARGS="--index-url ..."
TORCH ?= torch==2.13.0
TORCH_ARGS ?=
RUN ?= runs/water
CONFIG ?= tutorials/water.yaml
# Where `make bench` writes its CSV files and plot
BENCH ?= runs/bench
# Extra arguments of `irrepnet train`, for instance TRAIN_ARGS="--set training.minutes=1"
TRAIN_ARGS ?=

VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip install --quiet --disable-pip-version-check
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.ONESHELL:
.DELETE_ON_ERROR:
.PHONY: help demo test docs cuda sanitize bench lint clean

help:
	@echo "make demo   set up, train a water force field, run MD, write $(RUN)/report.html (about 12 minutes on 2 cores)"
	echo "make test   set up, run all tests, doctests and tutorials (about 25 minutes on 2 cores)"
	echo "make docs   set up, run the tutorials and build docs/_build/html (about 5 minutes on 2 cores)"
	echo "make cuda   compile the CUDA kernels and check what is in them (needs nvcc, no GPU)"
	echo "make sanitize  run the kernels' tests under AddressSanitizer and UndefinedBehaviorSanitizer (about 5 minutes)"
	echo "make bench  set up, time kernels and a model against e3nn, write $(BENCH) (about 10 minutes on 2 cores)"
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

# Warnings are errors, and so is a tutorial that fails.
docs: $(VENV)/.dev
	@export OMP_NUM_THREADS=1
	$(VENV)/bin/sphinx-build -W --keep-going -q -b html docs docs/_build/html
	echo "[docs] done: docs/_build/html/index.html"

# The library of the CUDA kernels, in build/cuda; `IRREPNET_CUDA=1 pip install --no-build-isolation .` installs it.
cuda: $(VENV)/.dev
	@nvcc="$${CUDA_HOME:+$$CUDA_HOME/bin/}nvcc"
	if ! command -v "$$nvcc" > /dev/null; then echo "[cuda] skipped: found no nvcc on PATH nor in CUDA_HOME"; exit 0; fi
	$(PY) -m pytest -q -rs tests/csrc/test_cuda_library.py
	ls -l build/cuda/irrepnet/_ops_cuda.abi3.so

# A copy of the tree with a watched library; the interpreter and PyTorch are not watched, so leaks are not looked for.
# Threads start at the sizes that are tested, and compilers and exporters, which only call the same kernels, are left out.
SANITIZED := build/sanitize
SANITIZED_TESTS := tests/ops/test_spherical_harmonics.py tests/ops/test_convolution.py tests/ops/test_tensor_product.py \
  tests/ops/test_linear.py tests/ops/test_radial_table.py tests/ops/test_library_robustness.py
sanitize: $(VENV)/.dev
	@rm -rf $(SANITIZED); mkdir -p $(SANITIZED)
	cp -r csrc irrepnet tests setup.py pyproject.toml README.md LICENSE MANIFEST.in $(SANITIZED)
	rm -f $(SANITIZED)/irrepnet/_ops*.so
	python="$$PWD/$(PY)"; cd $(SANITIZED)
	echo "[sanitize 1/2] the op library with -fsanitize=address,undefined"
	IRREPNET_SANITIZE=1 IRREPNET_REQUIRE_EXT=1 IRREPNET_CUDA=0 "$$python" setup.py -q build_ext --inplace
	echo "[sanitize 2/2] the kernels' tests"
	preload="$$(cc -print-file-name=libasan.so) $$(cc -print-file-name=libubsan.so) $$(cc -print-file-name=libstdc++.so)"
	LD_PRELOAD="$$preload" ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 "$$python" -m pytest -q -p no:cacheprovider \
	  $(SANITIZED_TESTS) -k "fused and not (compile or export or traced or func or jacobian or hessian or equivariant) or robustness and not memory or checks_its_arguments or kernel_has"

# One thread each: the table compares kernels. Each benchmark compares results before it times them.
bench: $(VENV)/.dev
	@export OMP_NUM_THREADS=1
	echo "[bench 1/7] convolution, 2000 edges, all problems"
	$(PY) benchmarks/bench_convolution.py --quick --contenders fused e3nn --out $(BENCH)
	echo "[bench 2/7] convolution, 20000 edges"
	$(PY) benchmarks/bench_convolution.py --problems nequip-water mace-medium --edges 20000 --contenders fused e3nn --rounds 5 --budget 8 --out $(BENCH)/large
	echo "[bench 3/7] spherical harmonics"
	$(PY) benchmarks/bench_spherical_harmonics.py --quick --out $(BENCH)
	echo "[bench 4/7] linear maps and products with shared weights"
	$(PY) benchmarks/bench_linear.py --quick --out $(BENCH)
	echo "[bench 5/7] what users of e3nn reach for"
	$(PY) benchmarks/bench_algebra.py --quick --out $(BENCH)
	echo "[bench 6/7] construction"
	$(PY) benchmarks/bench_construction.py --quick --out $(BENCH)
	echo "[bench 7/7] a force field on 192 atoms of water"
	$(PY) benchmarks/bench_model.py --quick --out $(BENCH)
	$(PY) benchmarks/report.py $(BENCH) --markdown
	echo "[bench] done: $(BENCH)/*.csv, $(BENCH)/convolution.png"

lint: $(VENV)/.dev
	@$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy irrepnet
	$(VENV)/bin/lint-imports

clean:
	@rm -rf $(VENV) build dist docs/_build docs/gallery docs/generated *.egg-info irrepnet/_ops*.so irrepnet/_build_info.json
	echo "removed $(VENV) and build leftovers"
