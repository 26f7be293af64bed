# Two commands do everything: `make run` and `make test`. They create .venv, install what is missing and go on.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
COMPILER := $(shell command -v g++ || command -v clang++)

.PHONY: run install install-dev test coverage test-extras test-wheel lint types imports bench demo clean
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
	$(BIN)/pytest -n auto -rs

# Which lines no test runs; half as long again as the tests alone.
coverage: install-dev
	$(BIN)/pytest -n auto --cov --cov-report=term:skip-covered

# Each extra's install line in a fresh virtual environment, and that extra's tests; -rs names what is skipped and why.
# One alone: make test-extras EXTRAS=scienceworld
EXTRAS := scienceworld interactive-fiction alfworld serve smollm2
TESTS_scienceworld := tests/environments/test_scienceworld.py tests/environments/test_conformance.py -k scienceworld
TESTS_interactive-fiction := tests/environments/test_jericho.py tests/environments/test_jericho_story.py \
	tests/environments/test_conformance.py -k jericho
TESTS_alfworld := $(wildcard tests/environments/test_alfworld*.py) tests/environments/test_conformance.py -k alfworld
TESTS_smollm2 := tests/models/test_smollm2.py tests/models/test_packaged.py
TESTS_serve := tests/serve
TESTS_llama-server := tests/real_servers/test_llama_server.py

# Two more, not among those that run without a name: they compile or download for long.
#   make test-extras EXTRAS=llama-server    the server of llama-cpp-python against our llama.cpp backend
#   make test-extras EXTRAS=vllm            a real vLLM on the CPU, in an environment of its own, against Transformers
test-extras: $(addprefix test-extra-,$(EXTRAS))

test-extra-vllm: install-dev
	@set -e; folder=$$(mktemp -d); trap 'rm -rf "$$folder"' EXIT; \
	echo "vLLM: installing into $$folder ..."; \
	$(PYTHON) -m venv "$$folder/vllm"; \
	"$$folder/vllm/bin/python" tests/real_servers/install_vllm.py; \
	AGENTRM_VLLM="$$folder/vllm/bin/vllm" $(BIN)/pytest -p no:cacheprovider -rs -s tests/real_servers/test_vllm.py

test-extra-%:
	@test -n "$(TESTS_$*)" || { echo "There is no extra $* to test; there are: $(EXTRAS)" >&2; exit 2; }
	@set -e; folder=$$(mktemp -d); trap 'rm -rf "$$folder"' EXIT; \
	echo "Extra [$*]: installing into $$folder ..."; \
	$(PYTHON) -m venv "$$folder/venv"; \
	pip="$$folder/venv/bin/python -m pip --disable-pip-version-check install --quiet -c constraints.txt"; \
	$$pip torch==2.13.0; \
	$$pip ".[$*]" pytest pytest-asyncio hypothesis; \
	cp -r tests benchmarks pyproject.toml "$$folder"; \
	cd "$$folder" && venv/bin/python -m pytest -p no:cacheprovider -rs $(TESTS_$*)

# The wheel in a fresh virtual environment, outside the checkout: the demo, then every stage of quick, made small.
SMALL := --set sft.max_minutes=0.3 --set sft.probe_tasks=4 --set explore.max_minutes=0.2 --set explore.iterations=10 \
	--set explore.dev_sibling_states=4 --set fit.max_minutes=0.2 --set fit.evaluations=1 \
	--set evaluate.methods=[greedy,beam] --set evaluate.sibling_states=4 --set environments.0.train_tasks=600 \
	--set environments.0.dev_tasks=8 --set environments.0.test_tasks=8

test-wheel:
	@set -e; folder=$$(mktemp -d); trap 'rm -rf "$$folder"' EXIT; \
	echo "Wheel: building and installing into $$folder ..."; \
	$(PYTHON) -m venv "$$folder/venv"; \
	pip="$$folder/venv/bin/python -m pip --disable-pip-version-check install --quiet -c $(CURDIR)/constraints.txt"; \
	$$pip build torch==2.13.0; \
	"$$folder/venv/bin/python" -m build --wheel --outdir "$$folder/dist" . >"$$folder/build.log" || { cat "$$folder/build.log"; exit 1; }; \
	$$pip "$$folder"/dist/*.whl; \
	cd "$$folder"; export AGENTRM_RUNS="$$folder/runs"; \
	venv/bin/agentrm-tui </dev/null >demo.txt; \
	tail -n 3 demo.txt; \
	venv/bin/agentrm-train pipeline --config quick --out trained $(SMALL); \
	test -f trained/export/policy.gguf && test -f trained/export/reward/model.safetensors

bench: install-dev
	$(BIN)/python benchmarks/run.py

clean:
	rm -rf $(VENV) dist build
