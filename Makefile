# make demo   set up and run the main job: from a water molecule to its infrared spectrum
# make test   set up, lint and run every test
# make lint, make bench, make science; see CONTRIBUTING.md
#
# Another interpreter (3.11 or newer): make PYTHON=python3.12 ...

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= $(shell command -v python3.11 || command -v python3 || echo python3)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/installed
PLUGINS := densnet-pyscf densnet-e3nn densnet-gaunt densnet-openmm densnet-ase densnet-torchsim densnet-xtb densnet-rdkit densnet-parsl densnet-psi4 densnet-models
PROJECTS := pyproject.toml $(PLUGINS:%=plugins/%/pyproject.toml)

# One thread per process: the work is spread over processes, and oversubscribed cores are slower than idle ones.
export OMP_NUM_THREADS ?= 1

.PHONY: help setup psi4 compiler demo test lint bench science clean

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

setup: $(STAMP)

# The stamp is older than a project file or the constraints exactly when the environment has to be brought up to date.
$(STAMP): $(PROJECTS) constraints.txt
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "DenSNet needs Python 3.11 or newer, and '$(PYTHON)' is not. Install it (Debian 12: apt-get install python3" \
	       "python3-venv) or name another one: make PYTHON=/path/to/python3.11 ..." >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "'$(PYTHON)' cannot make virtual environments. On Debian: apt-get install python3-venv" >&2; exit 1; }
	@echo "Making $(VENV): 2 to 5 minutes and 8 GB, most of it PyTorch"
	"$(PYTHON)" -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt \
	  -e '.[dev,dispersion]' -e plugins/densnet-pyscf -e plugins/densnet-e3nn -e plugins/densnet-gaunt -e 'plugins/densnet-openmm[torchforce,openmmml]' \
	  -e plugins/densnet-ase -e plugins/densnet-torchsim -e plugins/densnet-xtb -e plugins/densnet-rdkit -e plugins/densnet-parsl -e plugins/densnet-psi4 -e plugins/densnet-models
	@touch $@

demo: $(STAMP)
	$(BIN)/densnet run examples/water/water.toml

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The program behind densnet-psi4, which the tests run: not a Python package, so pip does not bring it.
psi4:
	@command -v psi4 >/dev/null || [ -e "$$(echo /usr/lib/*-linux-gnu/psi4/__init__.py)" ] || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    echo "Installing Psi4 with apt-get: about a minute"; \
	    export DEBIAN_FRONTEND=noninteractive; \
	    apt-get -qq update && apt-get -qq -y -o DPkg::Lock::Timeout=600 install psi4 >/dev/null; \
	  else \
	    echo "The tests run Psi4, and there is none. As root on Debian or Ubuntu: apt-get install psi4; elsewhere:" \
	         "conda create -n psi4 -c conda-forge psi4, with its bin folder on the PATH." >&2; exit 1; \
	  fi; }

# What compiles potentials to native code; without it everything works, slower, so a test of it would prove nothing.
compiler:
	@command -v "$${CXX:-g++}" >/dev/null || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    echo "Installing g++ with apt-get"; \
	    export DEBIAN_FRONTEND=noninteractive; \
	    apt-get -qq update && apt-get -qq -y -o DPkg::Lock::Timeout=600 install g++ >/dev/null; \
	  else \
	    echo "The tests compile potentials, and there is no C++ compiler. Install g++." >&2; exit 1; \
	  fi; }

# A test that cannot run here is a failure, not a dot less: --no-skips.
# One process for each core; the tests of a file stay together, since they share what they trained.
test: psi4 compiler lint
	$(BIN)/python -m pytest --no-skips -n auto --dist loadfile

bench: $(STAMP)
	@for script in benchmarks/bench_*.py; do \
	  [ -e "$$script" ] || { echo "benchmarks/ holds no bench_*.py" >&2; exit 1; }; \
	  echo "== $$script"; $(BIN)/python "$$script"; \
	done

# The acceptance numbers (accuracy, drift, band positions) on the results of `make demo`, 200 kills at random moments, and
# Psi4 against PySCF; hours, not part of `test`.
science: demo
	$(BIN)/python -m pytest --no-skips science

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache build dist
