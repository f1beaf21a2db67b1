# One command each, on a fresh machine with Python 3.11 or newer and make.
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
WHEEL := $(VENV)/wheels/mistral_common-1.13.1-py3-none-any.whl

# How many workers, and which tests stay together: tests/conftest.py.
PYTEST := $(BIN)/python -m pytest -q -n auto

.PHONY: rebuild table test check format venv clean

rebuild: venv  ## build the demo dataset into ./mllmu-med
	$(BIN)/python -m builder rebuild

table: rebuild  ## fine-tune, unlearn and measure a tiny model on it: the paper's Table 1
	$(BIN)/python -m baselines run

test: venv $(WHEEL)  ## the quick tier: minutes
	$(PYTEST)

check: venv $(WHEEL)  ## what CI runs: format, lint, types, both tiers of tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(PYTEST) -m ''

format: venv
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

venv: $(VENV)/.installed

# Installed again when the dependencies change; the lock holds the versions that pass the tests.
$(VENV)/.installed: pyproject.toml requirements.lock
	@"$(PYTHON)" -c 'import sys; v = ".".join(map(str, sys.version_info[:2])); sys.version_info >= (3, 11) or sys.exit("Python 3.11 or newer is needed, found " + v + ": run make PYTHON=/path/to/python3.11")'
	@echo "installing into $(VENV): minutes, up to 6 GB"
	"$(PYTHON)" -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check -q -c requirements.lock -e '.[test]'
	@touch $@

# The real Mistral tokenizer for a test: its wheel, not installed, as it wants an older numpy.
$(WHEEL): | venv
	$(BIN)/python -m pip download --disable-pip-version-check -q --no-deps -d $(VENV)/wheels mistral-common==1.13.1

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .pytest_cache .ruff_cache
