# One command each; `make` lists them. ARGS goes to the tool: make test ARGS="-k knn -x"
PYTHON ?= python3
BIN := .venv/bin
# Idle threads sleep instead of spinning: much faster where other programs use the same cores.
export OMP_WAIT_POLICY ?= PASSIVE
SPHINX := $(BIN)/python -m sphinx -W --keep-going -q

.DEFAULT_GOAL := help
.PHONY: help setup engines test demo bench lint docs clean

help: ## list the targets
	@sed -nE 's/^([a-z]+):.*## (.*)/  make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 16

setup: ## create .venv with everything in it; nothing to do when nothing changed
	@$(PYTHON) scripts/setup_env.py

engines: ## build torch-scatter and torch-cluster again if they are missing
	@$(PYTHON) scripts/setup_env.py --force

test: setup ## run the tests
	$(BIN)/python -m pytest $(ARGS)

demo: setup ## train the hyperbolic and Euclidean twins on generated data (minutes)
	$(BIN)/python benchmarks/demo.py $(ARGS)

bench: setup ## time layers, graphs and a training step beside their peers (twenty minutes)
	for name in edge_conv graph knn h_conv2d aggregations invariant training_step; do \
		$(BIN)/python benchmarks/micro/$$name.py --out benchmarks/results/micro-$$name.json || exit; \
	done
	for name in tables plot; do \
		$(BIN)/python benchmarks/micro/$$name.py --results benchmarks/results --out docs/source/_static/performance || exit; \
	done

lint: setup ## check style and types
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy

docs: setup ## build docs/build/html and run the examples in the pages
	$(SPHINX) -b html docs/source docs/build/html
	$(SPHINX) -b doctest docs/source docs/build/doctest

clean: ## remove what was built, but not .venv
	rm -rf build dist docs/build *.egg-info .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
