# One verb each. `make demo` and `make test` set up what they need by themselves.
VENV ?= .venv
PY ?= $(shell command -v python3.11 || command -v python3.12)
UV := $(VENV)/bin/uv
BIN := $(VENV)/bin
STAMP := $(VENV)/.stamp

.PHONY: setup demo test check unit fmt lock clean

setup: $(STAMP) ## a virtual environment with the pinned packages

$(VENV)/bin/uv:
	$(PY) -m venv $(VENV)
	$(VENV)/bin/python -m pip install -q 'uv>=0.13,<0.14'

$(STAMP): $(VENV)/bin/uv requirements.txt pyproject.toml
	VIRTUAL_ENV=$(abspath $(VENV)) $(UV) pip install -q --no-deps -r requirements.txt -e .
	touch $@

lock: $(VENV)/bin/uv ## compile requirements.txt anew
	$(UV) pip compile pyproject.toml --extra all --group dev -p 3.11 --no-header --no-annotate --no-emit-index-url -o requirements.txt
