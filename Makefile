# Two environments are never mixed: everything but Triton runs from .venv, which `make setup` creates from constraints.txt.
VENV   := .venv
PYTHON := $(VENV)/bin/python
STAMPS := $(VENV)/.stamps
# Triton's own: its backend stops at numpy 1.
TRITON := .venv-triton
# cython-lint and protoc start other programs of the environment by name.
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
# The interpreter that the environment is made with; the servers run on Python 3.11.
BASE_PYTHON ?= $(firstword $(shell command -v python3.11 python3))

# Folders stand beside their files, so that a file that was removed counts as a change too.
PROTOS := $(shell find protos/tapeline -type d ! -name __pycache__ -o -name '*.proto')
NATIVE := $(shell find native -type d ! -name __pycache__ -o -name '*.pyx' -o -name '*.pxd' -o -name '*.h')

CONVERSION := $(addprefix triton_models/,adapter.py checkpoint.py graph.py prepare.py prompt.py quantised.py smoothing.py weights.py calibration/maxima.npz head/adapter.npz)

MODULES := $(patsubst native/%.pyx,native.%,$(wildcard native/*.pyx))

.DEFAULT_GOAL := help
.PHONY: help setup run test fuzz check bench release clean

help: ## show the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMPS)/stubs $(STAMPS)/release $(STAMPS)/debug $(TRITON)/triton.json ## create both environments, stubs, extensions, the LLM's weights; quick when nothing changed

run: $(STAMPS)/stubs $(STAMPS)/release $(TRITON)/triton.json ## set up what is missing, start the mesh, trade a demonstration session, keep serving
	$(VENV)/bin/tapeline up --demo

# The native tests on the debug build; then whole meshes of real processes: the one whose recovery is timed alone, the
# others two at a time; then all the rest.
test: setup ## set up what is missing, run all tests: the native ones on both builds, with coverage
	TAPELINE_NATIVE=debug $(PYTHON) -m pytest -q -n 2 tests/native
	$(PYTHON) -m pytest -q tests/scenario/test_recovery.py --cov --cov-report=
	$(PYTHON) -m pytest -q -n 2 --dist loadfile tests/scenario --ignore=tests/scenario/test_recovery.py --cov --cov-append --cov-report=
	$(PYTHON) -m pytest -n 2 --ignore=tests/scenario --cov --cov-append --cov-fail-under=90

CASES ?= 100000
fuzz: $(STAMPS)/release ## hold every schedule to its twin over 100,000 cases each (CASES=N for another number), some 12 minutes
	TAPELINE_CASES=$(CASES) $(PYTHON) -m pytest -q --timeout 0 --durations 0 --no-header tests/native/test_schedules_in_action.py

check: setup protos/third_party ## lint, types, import rules, proto lint
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy servers native benchmarks tests docs triton_models setup.py
	$(PYTHON) -m mypy protos/setup.py
	$(VENV)/bin/lint-imports
	$(VENV)/bin/cython-lint native
	$(PYTHON) -m mypy.stubtest --concise --ignore-disjoint-bases --mypy-config-file pyproject.toml \
	    --ignore-unused-allowlist --allowlist tests/architecture/stubtest_allowlist.txt $(MODULES)
	$(VENV)/bin/buf lint protos
	$(VENV)/bin/buf build protos --path protos/tapeline -o build/present.binpb
	@if [ -f protos/released.binpb ]; then \
	    set -x; $(VENV)/bin/buf breaking build/present.binpb --against protos/released.binpb; \
	else \
	    echo "buf breaking: skipped, there is no protos/released.binpb yet"; \
	fi

bench: setup ## run every benchmark, with the peers it is compared with
	@for name in $$($(PYTHON) -c 'from benchmarks.__main__ import benchmark_names; print(*benchmark_names())'); do \
	    $(PYTHON) -m benchmarks $$name || exit 1; \
	done

release: setup protos/third_party ## make the present protos the contract that `make check` compares with
	$(VENV)/bin/buf build protos --path protos/tapeline -o protos/released.binpb

clean: ## remove what was built, the environments excepted
	rm -rf build dist protos/build protos/third_party .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage*
	find native -name '*.so' -delete
	find protos/tapeline \( -name '*_pb2*.py' -o -name '*_pb2*.pyi' -o -name __init__.py -o -name py.typed \) -delete
	find . -name __pycache__ -not -path './.venv*' -prune -exec rm -rf {} +
	rm -rf $(STAMPS)

$(PYTHON):
	@$(BASE_PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || { \
	    echo "Tapeline needs Python 3.11, and $(BASE_PYTHON) is another; name one: make setup BASE_PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(BASE_PYTHON) -m venv $(VENV)

$(STAMPS)/environment: constraints.txt pyproject.toml protos/pyproject.toml | $(PYTHON)
	@mkdir -p $(STAMPS)
	$(PYTHON) -m pip install -qq --disable-pip-version-check -c constraints.txt setuptools wheel cython grpcio-tools mypy-protobuf
	$(PYTHON) -m pip install -qq --disable-pip-version-check -c constraints.txt --no-build-isolation -e ./protos -e '.[dev]'
	@touch $@

# The wheels' own lists of dependencies ask for far more than is used: ours is whole and exact.
$(TRITON)/.installed: triton_models/requirements.txt | $(PYTHON)
	@test -x $(TRITON)/bin/python || $(PYTHON) -m venv $(TRITON)
	$(TRITON)/bin/python -m pip install -qq --disable-pip-version-check --no-deps -r $<
	@touch $@

build/triton/recipe.json: $(TRITON)/.installed $(CONVERSION)
	$(TRITON)/bin/python -m triton_models.prepare
	@touch $@

$(TRITON)/triton.json: build/triton/recipe.json
	@touch $@

$(STAMPS)/stubs: $(STAMPS)/environment protos/setup.py $(PROTOS)
	cd protos && ../$(PYTHON) setup.py -q build_stubs
	@touch $@

$(STAMPS)/release: $(STAMPS)/environment setup.py $(NATIVE)
	$(PYTHON) setup.py -q build_ext --inplace
	@touch $@

$(STAMPS)/debug: $(STAMPS)/environment setup.py $(NATIVE)
	$(PYTHON) setup.py -q build_ext --debug
	@touch $@

protos/third_party: $(STAMPS)/environment
	cd protos && ../$(PYTHON) setup.py -q copy_google_protos
	@touch $@
