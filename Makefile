# Everything a newcomer needs: Python 3.11 or newer, pip, make.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check
# A process a core, each on one thread; a file's tests stay together, since they share what they measured.
TEST   := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --quiet --numprocesses auto --dist loadfile

.DEFAULT_GOAL := help
.PHONY: help report test test-slow coverage lint bench clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# torch goes in first and alone: the constraint decides its build before any other package can ask for one.
$(VENV)/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 11) else f"expected Python 3.11 or newer, found {v[0]}.{v[1]}: name another with make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --constraint constraints.txt torch
	$(PIP) install --quiet --constraint constraints.txt --editable .
	@touch $@

$(VENV)/installed-test: $(VENV)/installed
	$(PIP) install --quiet --constraint constraints.txt --editable '.[test]'
	@touch $@

report: $(VENV)/installed  ## run the main job and write the page to reports/ (QUICK=1: two minutes)
	$(BIN)/cofire report $(if $(QUICK),--quick)

test: $(VENV)/installed-test  ## all tests but the slow ones
	$(TEST)

test-slow: $(VENV)/installed-test  ## the slow tests
	$(TEST) -m slow

coverage: $(VENV)/installed-test  ## lines of toy and compare that the tests run; fails under 90 %
	$(TEST) -m "slow or not slow" --cov=toy --cov=compare --cov-report=term:skip-covered --cov-fail-under=90

lint: $(VENV)/installed-test  ## ruff (rules and format), mypy (strict on the public surface)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/installed-test  ## measured ratios against the post's way, scipy, autograd
	$(BIN)/cofire bench
	for file in tests/bench/bench_*.py; do $(BIN)/python $$file || exit 1; done

clean:  ## what was built or measured; never what was written to reports/
	rm -rf $(VENV) runs build *.egg-info .pytest_cache .ruff_cache .hypothesis .coverage
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
