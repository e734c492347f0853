# Every way to build, check and run Ingot.  `make help` lists them.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
HOST ?= 127.0.0.1
PORT ?= 8000
BUILTIN := build/smollm2-135m-instruct.ingot
NATIVE := CMakeLists.txt $(wildcard runtime/native/*)

space := $(subst ,, )

.PHONY: help serve test corpus lint type bench bench-quick docs wheel clean

help:
	@echo "make serve   install, compile the built-in model for this CPU, serve it on $(HOST):$(PORT)"
	@echo "make test    install what the tests need and run them"
	@echo "make lint    ruff and the import rules        make type    mypy --strict"
	@echo "make bench   speed beside other runtimes, which it builds (BENCH_ARGUMENTS=--list: what)"
	@echo "make bench-quick   speed beside this machine's limits   make docs   build the documentation"
	@echo "make wheel   test the built wheel in an empty environment"
	@echo "make corpus  every architecture against transformers (CORPUS_ARGUMENTS=--fast: some)"

# An install is repeated when what it installs has changed: the dependencies or the native code.
$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.compile: pyproject.toml $(NATIVE) | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable '.[compile]'
	touch $@

$(VENV)/.test: pyproject.toml $(NATIVE) | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable '.[test,docs]'
	touch $@ $(VENV)/.compile

# The artifact depends on the compiler's sources only through the version: remove it to compile anew.
$(BUILTIN): | $(VENV)/.compile
	$(BIN)/ingot compile builtin --levels native --kv-dtype float32 --output $@

serve: $(VENV)/.compile $(BUILTIN)
	$(BIN)/ingot serve $(BUILTIN) --host $(HOST) --port $(PORT)

# Each process begins with a stretch of the tests, so that few of the models that tests share are
# made twice; who is done first takes from the end of another's.
test: $(VENV)/.test
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist worksteal

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

type: $(VENV)/.test
	$(BIN)/mypy
	$(BIN)/mypy corpus
	MYPYPATH=src:benchmarks $(BIN)/mypy -m cpu_peers -p peers
	MYPYPATH=src:$(subst $(space),:,$(wildcard examples/*/src)) $(BIN)/mypy \
		-p ingot_example_pass -p ingot_example_op -p ingot_example_encoding -p ingot_example_target

bench: $(VENV)/.test
	$(BIN)/python benchmarks/cpu_peers.py $(BENCH_ARGUMENTS)

bench-quick: $(VENV)/.test
	$(BIN)/python benchmarks/straight_line.py $(BENCH_ARGUMENTS)

corpus: $(VENV)/.test
	$(BIN)/python -m corpus $(CORPUS_ARGUMENTS)

docs: $(VENV)/.test
	$(BIN)/mkdocs build --strict --quiet

wheel: $(VENV)/.test
	$(BIN)/python -m pytest tests/packaging

clean:
	rm -rf build dist site
