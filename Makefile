# Two commands do everything on a fresh machine: `make demo` and `make test`.
PYTHON ?= $(firstword $(foreach v,python3.11 python3.12 python3.13 python3,$(shell command -v $(v) 2>/dev/null)))
VENV ?= .venv
BIN := $(VENV)/bin
PROFILE ?= $(shell nvidia-smi -L >/dev/null 2>&1 && echo gpu || echo cpu)
INSTALLED := $(VENV)/.installed-$(PROFILE)
PACKAGES := copilot envs reward data
export PYTHONDONTWRITEBYTECODE =
export HF_HUB_DISABLE_TELEMETRY = 1

.PHONY: install demo test lint typecheck check bench-% clean lock

install: $(INSTALLED)

$(INSTALLED): setup.cfg requirements/$(PROFILE).txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v < (3, 14) else f"Python 3.11-3.13 is needed, this is {v}; set PYTHON=")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { echo "python venv is missing: apt-get install python3-venv"; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements/$(PROFILE).txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: install
	$(BIN)/accelerate launch --num_processes 1 recipes/quickstart.yaml

test: check
	$(BIN)/python -m pytest $(PYTEST_ARGS)

check: lint typecheck

lint: install
	$(BIN)/ruff check . && $(BIN)/ruff format --check .

# The folders are top-level and the imports one namespace: show mypy the tree as it is imported.
typecheck: install
	@rm -rf build/typecheck && mkdir -p build/typecheck/copilot
	@ln -s $(CURDIR)/copilot/* build/typecheck/copilot/
	@for p in envs reward data; do ln -s $(CURDIR)/$$p build/typecheck/copilot/$$p; done
	cd build/typecheck && $(CURDIR)/$(BIN)/mypy --config-file $(CURDIR)/pyproject.toml --cache-dir $(CURDIR)/.mypy_cache -p copilot

bench-%: install
	$(BIN)/python benchmarks/$*.py

# Freeze what is installed now as the profile's lock file.
lock:
	$(BIN)/python -m pip freeze --all --exclude-editable --exclude med-copilot --exclude pip | sed -E 's/\+cpu//; s/ @ .*//' > requirements/$(PROFILE).txt

clean:
	rm -rf build .mypy_cache .ruff_cache .pytest_cache
