# Two commands for a fresh machine: `make demo` and `make test`. Everything goes into .venv.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --disable-pip-version-check --quiet --constraint .ci/constraints.txt

.PHONY: demo test lint types check bench bench-tracking config guide clean help

help:
	@echo "make demo   install the base, compose a clip of two people, process it, name the files it made"
	@echo "make test   install what the tests need and run all of them"
	@echo "make check  lint + types + test: what continuous integration runs"
	@echo "make guide  write the generated pages of the guide again"
	@echo "make bench  measure speed against the nearest peer; writes reports/benchmarks/"

$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info < (3, 14) else "fertrack needs Python 3.11, 3.12 or 3.13, and $(PYTHON) is " + sys.version.split()[0] + ": name another with make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.base: $(VENV)/.python pyproject.toml .ci/constraints.txt
	$(PIP) --editable '.[demo]'
	@touch $@

$(VENV)/.dev: $(VENV)/.base
	$(PIP) --editable '.[demo,torch,keras,export,eval,reid,parquet,xlsx,lsl,postgres,web,gui,dev]'
	@touch $@

demo: $(VENV)/.base
	$(BIN)/fertrack demo

# Two files at a time, in the order of their names: the long ones of tests/quality are not left for the end.
test: $(VENV)/.dev
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --max-worker-restart 0 --cov --cov-report=term

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/mypy

check: lint types test

# CLIP: the clips to measure on; OLD: the source tree of an earlier build, beside which it is measured (git worktree add
# ../old COMMIT). The peer gets a virtual environment of its own. Ends with an error where a target is missed.
CLIP ?= fertrack-out/demo.mp4
OLD  ?=
bench: $(VENV)/.dev .venv-peer/bin/deface
	@test -f $(firstword $(CLIP)) || $(BIN)/fertrack demo --clip-only
	$(BIN)/python -m fertrack.benchmarks throughput $(CLIP) --peer .venv-peer/bin/deface --folder 4 $(if $(OLD),--against $(OLD))

.venv-peer/bin/deface:
	$(PYTHON) -m venv .venv-peer
	.venv-peer/bin/python -m pip install --disable-pip-version-check --quiet --constraint .ci/constraints.txt deface onnx onnxruntime

# The tracker alone, beside roboflow's trackers.
bench-tracking: $(VENV)/.dev .venv-peer-trackers/bin/python
	$(BIN)/python -m fertrack.benchmarks tracker_speed --peer .venv-peer-trackers/bin/python

.venv-peer-trackers/bin/python:
	$(PYTHON) -m venv .venv-peer-trackers
	.venv-peer-trackers/bin/python -m pip install --disable-pip-version-check --quiet 'trackers>=2.6,<3'

# Writes configs/default.toml from the options' own descriptions and defaults.
config: $(VENV)/.base
	$(BIN)/fertrack config show > configs/default.toml.new && mv configs/default.toml.new configs/default.toml

# Writes the generated pages of the guide: commands, troubles, and the layers in architecture.md.
guide: $(VENV)/.dev
	$(BIN)/python -m tests.support.guide_pages

clean:
	rm -rf $(VENV) build dist .coverage .mypy_cache .ruff_cache .pytest_cache
