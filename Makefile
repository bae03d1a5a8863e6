# make bench | test | lint | docs | apple-compiled | planted-bugs: each creates .venv and installs what it needs first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
SOURCES := pyproject.toml CMakeLists.txt $(shell find cpp metal python -type f -not -name '*.pyc' 2>/dev/null)

.PHONY: bench test lint apple-compiled planted-bugs clean

bench: $(VENV)/installed
	$(BIN)/python bench/run_all.py $(ARGS)

test: $(VENV)/installed
	$(BIN)/python -m pytest -n auto --dist worksteal $(ARGS)

# Runs MLX's kernels from their text and as Apple compiled them, counts both, and writes the page.
apple-compiled: $(VENV)/installed
	$(BIN)/python bench/apple_compiled.py $(ARGS)

# Plants mistakes in the kernels, one at a time; prints caught/planted and fails on a miss.
planted-bugs: $(VENV)/installed
	$(BIN)/python tests/planted_bugs/run.py $(ARGS)

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run -Werror $$(git ls-files 'cpp/*.cpp' 'cpp/*.h' 'tests/*.cpp' 'tests/*.h')
	$(BIN)/typos

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "[make] found $$($(PYTHON) --version), needs Python 3.10 or later; run make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: $(VENV)/bin/python $(SOURCES)
	@# The dependencies come while the extension compiles.
	$(PIP) install --quiet $$($(BIN)/python tools/requirements.py test) & needed=$$!; \
	  rm -rf build/wheel && $(PIP) wheel --quiet --no-deps --wheel-dir build/wheel . && \
	  wait $$needed && $(PIP) install --quiet --no-deps --force-reinstall build/wheel/*.whl
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(PIP) install --quiet ruff clang-format typos
	@touch $@

clean:
	rm -rf $(VENV) build out

include make/metal.mk
include make/rust.mk
include make/arm64.mk
include make/conformance.mk
include make/docs.mk
