# Every target does its own set-up: a virtual environment in .venv with the versions of constraints.txt.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
# Byte code is made of what is imported, when it is imported; of all that is installed it would take a minute.
# It is kept, whatever the environment says: the tests start many processes.
unexport PYTHONDONTWRITEBYTECODE
PIP := $(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt
# What pip needs to find the CPU build of torch where the default index offers the CUDA one first.
TORCH_ARGS ?=
TEST_ARGS ?=

.PHONY: install demo test check fix docs bench tables claims clean

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(PIP) torch $(TORCH_ARGS)
	$(PIP) --editable ".[dev,docs]"
	touch $(STAMP)

demo: install
	$(BIN)/bertpress demo --out runs/demo

test: install
	$(BIN)/python -m pytest -n 2 --dist worksteal $(TEST_ARGS)

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

fix: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: install
	$(BIN)/mkdocs serve

bench: install
	for script in startup theseus_speed engine_overhead floor kernels attention_loss augmentation tinybert_speed packing trbert_speed rollouts optimiser sandwich latency_table search_speed reading_speed export_speed composed plan_speed; do \
		$(BIN)/python benchmarks/$$script.py || exit 1; done
	$(BIN)/python benchmarks/runs.py demo mrpc demo-all
	$(BIN)/python benchmarks/tables.py

tables: install
	$(BIN)/python benchmarks/tables.py

claims: install
	$(BIN)/python benchmarks/claims.py

clean:
	rm -rf .venv build dist site *.egg-info
