# make install: a virtual environment with the tested versions.
# make study: that, and the whole study on the embedded data set.
# make reproduce: the study with the seeds of the kept one; which of its figures lie outside?
# make format: format the code and apply the fixes of the linter.
# make lint: check format, lint and types. make test: that, and the tests.
# make test-slow: the tests that take longer.
# make chaos: kill a small training again and again; it must end like one left alone.
# make fuzz SECONDS=60: change sound files and requests at random; each is read, or refused.
# make lock: the newest releases that fit together, into constraints.txt, and what changed.
# make test-peers: parity with PyTorch's packages, gigabytes, in a virtual environment of its own.
# make bench: time our train step beside PyTorch's and Keras's, gigabytes, in an environment of its own:
#   make bench BENCH='--rows ae_256 --rounds 1'
# make test-newest: the tests that a newer Python, with its newer JAX, can break:
#   make test-newest PYTHON=python3.12 VENV=.venv312
# With CONSTRAINTS= on the command line it takes the newest releases, not the tested versions.

PYTHON ?= python3
CONSTRAINTS ?= --constraint constraints.txt
VENV ?= .venv
KILLS ?= 20
SEED ?= 0
SECONDS ?= 60
BIN := $(VENV)/bin

.PHONY: install study reproduce format lint test test-slow test-newest test-peers bench lock chaos \
	fuzz clean

install: $(VENV)/.installed

study: $(VENV)/.installed
	$(BIN)/python experiments/study.py --workdir runs/study

reproduce: $(VENV)/.installed
	$(BIN)/python -m experiments.reproduce --workdir runs/reproduce \
		$(if $(wildcard runs/study),--reuse runs/study)

format: $(VENV)/.installed-test
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: $(VENV)/.installed-test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

test: lint
	$(BIN)/python -m pytest

test-slow: $(VENV)/.installed-test
	$(BIN)/python -m pytest -m slow

# What a newer JAX, Flax, Optax, Orbax, TFDS or NumPy breaks first.
NEWEST := tests/test_cli.py tests/test_load.py tests/test_predict.py tests/runs \
	tests/training/test_interruption.py tests/training/test_loop.py tests/training/test_step.py \
	tests/data/test_voc.py tests/data/test_pipeline.py tests/models/test_build.py \
	tests/models/test_convolution.py tests/models/test_norm.py tests/models/test_draw.py \
	tests/training/test_optimizers.py tests/metrics tests/pretrained/test_store.py \
	tests/test_wheel.py

test-newest: $(VENV)/.installed-test
	$(BIN)/python -m pytest $(NEWEST)

chaos: $(VENV)/.installed-test
	$(BIN)/python tests/chaos.py --kills $(KILLS) --seed $(SEED)

fuzz: $(VENV)/.installed-test
	$(BIN)/python tests/fuzz.py --seconds $(SECONDS) --seed $(SEED)

# Once a month. One file for every Python and platform; uv is the tool that resolves for all of them.
LOCKED := --universal --python-version 3.11 --extra test

lock:
	test -x .venv-lock/bin/uv || { $(PYTHON) -m venv .venv-lock && .venv-lock/bin/python -m pip install --quiet uv; }
	.venv-lock/bin/uv pip compile --quiet --upgrade $(LOCKED) --no-annotate --no-header pyproject.toml --output-file .venv-lock/constraints.txt
	@sort constraints.txt > .venv-lock/before.txt
	@sort .venv-lock/constraints.txt | diff --unified=0 .venv-lock/before.txt - | grep '^[-+][a-z]' || echo "nothing changed"
	cp .venv-lock/constraints.txt constraints.txt
	@echo "now: make test test-slow, and commit constraints.txt"

test-peers:
	$(MAKE) .venv-peers/.installed-test VENV=.venv-peers
	.venv-peers/bin/python -m pip install --quiet $(CONSTRAINTS) --editable '.[test,peers]'
	.venv-peers/bin/python -m pytest -m 'slow or not slow' tests/peers

bench:
	$(MAKE) .venv-bench/.installed VENV=.venv-bench
	.venv-bench/bin/python -m pip install --quiet $(CONSTRAINTS) --editable '.[bench]'
	.venv-bench/bin/python -m experiments.benchmark --output runs/benchmark.json $(BENCH)

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "vocjax needs Python 3.11 or newer: make PYTHON=python3.12")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet $(CONSTRAINTS) --editable .
	touch $@

$(VENV)/.installed-test: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "vocjax needs Python 3.11 or newer: make PYTHON=python3.12")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet $(CONSTRAINTS) --editable '.[test]'
	touch $(VENV)/.installed $@

clean:
	rm -rf $(VENV) .venv-lock build *.egg-info
