# Two commands do everything: `make run` and `make test`. They create .venv, install what is missing and go on.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
COMPILER := $(shell command -v g++ || command -v clang++)

.PHONY: run install install-dev test test-extras lint types imports bench demo clean
.DEFAULT_GOAL := run

run: install
	@$(BIN)/agentrm-tui

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing agentrm-tui into $(VENV) (PyTorch is the large part) ..."
	@$(PIP) install --quiet -c constraints.txt torch==2.13.0
	@$(PIP) install --quiet -c constraints.txt -e .
	@touch $@

install-dev: $(VENV)/.installed-dev

$(VENV)/.installed-dev: $(VENV)/.installed
	@$(PIP) install --quiet -c constraints.txt -e ".[dev]"
ifneq ($(COMPILER),)
	@echo "Building llama-cpp-python, unless it is there (about five minutes the first time) ..."
	@$(PIP) install --quiet -c constraints.txt -e ".[llama-cpp]"
else
	@echo "No C++ compiler: llama-cpp-python is left out, and the tests marked llama_cpp are skipped."
endif
	@touch $@

lint: install-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install-dev
	$(BIN)/mypy

imports: install-dev
	$(BIN)/lint-imports

test: lint types imports
	$(BIN)/pytest -n auto --cov --cov-report=term:skip-covered -rs

# Each extra's install line in a fresh virtual environment, and that extra's tests; -rs names what is skipped and why.
# One alone: make test-extras EXTRAS=scienceworld
EXTRAS := scienceworld interactive-fiction alfworld
TESTS_scienceworld := tests/environments/test_scienceworld.py tests/environments/test_conformance.py -k scienceworld
TESTS_interactive-fiction := tests/environments/test_jericho.py tests/environments/test_jericho_story.py \
	tests/environments/test_conformance.py -k jericho
TESTS_alfworld := $(wildcard tests/environments/test_alfworld*.py) tests/environments/test_conformance.py -k alfworld

test-extras: $(addprefix test-extra-,$(EXTRAS))

test-extra-%:
	@test -n "$(TESTS_$*)" || { echo "There is no extra $* to test; there are: scienceworld interactive-fiction alfworld" >&2; exit 2; }
	@set -e; folder=$$(mktemp -d); trap 'rm -rf "$$folder"' EXIT; \
	echo "Extra [$*]: installing into $$folder ..."; \
	$(PYTHON) -m venv "$$folder/venv"; \
	pip="$$folder/venv/bin/python -m pip --disable-pip-version-check install --quiet -c constraints.txt"; \
	$$pip torch==2.13.0; \
	$$pip ".[$*]" pytest pytest-asyncio hypothesis; \
	cp -r tests benchmarks pyproject.toml "$$folder"; \
	cd "$$folder" && venv/bin/python -m pytest -p no:cacheprovider -rs $(TESTS_$*)

bench: install-dev
	$(BIN)/python benchmarks/run.py

clean:
	rm -rf $(VENV) dist build
