# Every target makes its own virtual environment first; nothing else needs to be set up.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow fuzz check bench docs clean

help:            ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## *' '{printf "  make %-10s %s\n", $$1, $$2}'

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "edgewise needs Python 3.11 or newer; set PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[all]'
	@touch $@

demo: $(STAMP)   ## compare all time encoders on digits (3 seeds, about 2 minutes) and write demo/report.html
	$(BIN)/edgewise compare examples/demo.json --out demo

test: $(STAMP)   ## the tests, doctests included (minutes)
	$(BIN)/python -m pytest -n 2 -m 'not slow'

test-slow: $(STAMP) ## the long tests: ten kills, a thousand simulated studies
	$(BIN)/python -m pytest -m slow

fuzz: $(STAMP)   ## 200 000 inputs for each reader of files (long)
	FUZZ_INPUTS=200000 $(BIN)/python -m pytest -m "slow or not slow" --timeout 0 tests/fuzz

check: $(STAMP)  ## lint, format and the floors of the architecture
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

bench: $(STAMP)  ## timing tables (run on a quiet machine)
	$(BIN)/edgewise bench encoders
	$(BIN)/edgewise bench layers

docs: $(STAMP)   ## the documentation; warnings are errors
	$(BIN)/python -m sphinx -W --keep-going -b html docs docs/_build/html

clean:           ## remove what the targets made
	rm -rf $(VENV) demo docs/_build
