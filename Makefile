# Each target sets up .venv by itself where that is needed.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready
# One more than there are cores: some tests wait for SLURM, for a server or for other processes.
WORKERS ?= $(shell echo $$(($$(nproc) + 1)))

.PHONY: help demo test check audit oldest newest format setup clean
.DEFAULT_GOAL := help

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY)  ## make .venv with the pinned set of constraints.txt

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

demo: $(READY)  ## phantoms → cache → fit → test → predict → report, in a few minutes on two cores
	rm -rf runs/demo
	$(BIN)/brats phantom runs/demo-cases --cases 24 --size '[160, 160, 104]'
	$(BIN)/brats cache --config configs/demo.yaml
	$(BIN)/brats fit --config configs/demo.yaml
	$(BIN)/brats test --run runs/demo
	$(BIN)/brats predict runs/demo-cases --checkpoint runs/demo --output runs/demo/predictions
	$(BIN)/brats report runs/demo
	$(BIN)/brats report --case runs/demo-cases/BraTS2021_90000 --output runs/demo/report/BraTS2021_90000.html \
	  --prediction runs/demo/predictions/BraTS2021_90000.nii.gz
	@echo "The run lies in runs/demo, its report in runs/demo/report/report.html, that of a case beside it"

test: $(READY)  ## every test, within ten minutes on two cores
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

check: $(READY)  ## format, lint, types, import contract, fast tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder -m "not slow" -q

audit: $(READY)  ## known vulnerabilities of the pinned packages (asks PyPI), and bandit on the code
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt bandit pip-audit
	$(BIN)/bandit --quiet --recursive --severity-level medium --skip B104,B301,B310 brats_lightning
	$(BIN)/pip-audit --requirement constraints.txt --no-deps --disable-pip

oldest:  ## fast tests with the oldest version of each package that pyproject.toml allows
	$(PYTHON) -m venv .venv-oldest
	$(PYTHON) .ci/oldest.py > .venv-oldest/constraints.txt
	.venv-oldest/bin/python -m pip install --quiet --disable-pip-version-check -c .venv-oldest/constraints.txt torch
	.venv-oldest/bin/python -m pip install --quiet --disable-pip-version-check -c .venv-oldest/constraints.txt -e '.[dev]'
	.venv-oldest/bin/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder -m "not slow" -q -W ignore

newest:  ## fast tests with the newest version of each package, and PyTorch as pinned
	$(PYTHON) -m venv .venv-newest
	grep '^torch==' constraints.txt > .venv-newest/constraints.txt
	.venv-newest/bin/python -m pip install --quiet --disable-pip-version-check -c .venv-newest/constraints.txt torch
	.venv-newest/bin/python -m pip install --quiet --disable-pip-version-check -c .venv-newest/constraints.txt -e '.[dev]'
	.venv-newest/bin/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder -m "not slow" -q

format: $(READY)  ## put code into the house's form
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:  ## remove .venv and what tools have left
	rm -rf .venv .venv-oldest .venv-newest .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
