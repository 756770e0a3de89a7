# `make demo` and `make test` set everything up by themselves: they need Python 3.11 or 3.12 and a package index.
PYTHON ?= $(shell for p in python3.11 python3.12 python3; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PACKAGES := winnow filters training eval pipeline
export NO_ALBUMENTATIONS_UPDATE = 1

.PHONY: demo test test-slow test-gpu check format bench lock clean

demo: $(READY)
	$(BIN)/winnow run configs/demo.yaml
	@echo "The report: runs/demo/report.html"

test: $(READY)
	$(BIN)/python -m pytest

test-slow: $(READY)
	$(BIN)/python -m pytest -m slow --timeout 900

test-gpu: $(READY)
	$(BIN)/python -m pytest -m gpu --timeout 900

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(READY)
	$(BIN)/python -m benchmarks.run_all

# The exact versions everything was tested with. It names packages and versions, never addresses.
lock:
	uv pip compile pyproject.toml --extra text --extra demo --extra curate --extra dev --universal --python-version 3.11 --fork-strategy fewest \
		--no-header --no-annotate -o requirements.txt

$(READY): requirements.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "Winnow needs Python 3.11 or 3.12 on the PATH (or: make PYTHON=/path/to/python3.11)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python -r requirements.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $(READY)

clean:
	rm -rf $(VENV) runs .mypy_cache .ruff_cache .pytest_cache
