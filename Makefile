# `make demo` and `make test` do all of their own set-up; nothing else is needed but Python 3.11+, make and a compiler.

VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	command -v $$p >/dev/null && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)

.PHONY: demo test soak lint bench clean

demo: $(VENV)/.installed
	@$(BIN)/finetui demo

test: lint
	$(BIN)/pytest

# Something dies every second while a run trains and a client follows it.
MINUTES ?= 10
soak: $(VENV)/.installed-dev
	FINETUI_SOAK_S=$$(( $(MINUTES) * 60 )) $(BIN)/pytest -s tests/faults/test_soak.py

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Ratios against peers in the same run; read them, they are not a test.
bench: $(VENV)/.installed-dev
	@for script in tests/bench/*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "finetui needs Python 3.11 or newer; set PYTHON=/path/to/python3.11" >&2; exit 2; }
	@$(PYTHON) -m venv $(VENV) || { echo "the venv module is missing; on Debian and Ubuntu: apt install python3-venv" >&2; exit 2; }

$(VENV)/.installed: pyproject.toml | $(VENV)/bin/python
	@echo "installing finetui into $(VENV) ..." >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml | $(VENV)/bin/python
	@echo "installing finetui and its test tools into $(VENV) ..." >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,runpod]'
	@touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV)
