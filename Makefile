# Everything a person runs. `make help` lists the targets; each target calls one module whose --help explains it.
# ARGS is passed on to the module:  make train ARGS="--help"

.DEFAULT_GOAL := help
.PHONY: help setup format check test demo miniature ingest generate-priors augment pack train evaluate predict \
        miniature-models clean

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
RUN := $(BIN)/python -m
SIZE ?= full
ARGS ?=

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  \1\t\2/' | expand -t 22

setup: .venv/installed ## make .venv with the tested versions
.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version.split()[0] + "; set PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@

format: setup ## rewrite the code in the project's format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

check: setup ## ruff and mypy --strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: setup ## all tests
	$(BIN)/python -m pytest $(ARGS)

demo: setup ## the whole job on the miniature world: data, priors, scenes, two trainings, one table (SIZE=smoke for a glance)
	$(RUN) workflows.demo --size $(SIZE) $(ARGS)

miniature: setup ## draw the miniature data set
	$(RUN) workflows.miniature.world $(ARGS)

MINIATURE := data/miniature/refer/miniature/instances.json
$(MINIATURE): | setup
	$(RUN) workflows.miniature.world

ingest: setup $(if $(ARGS),,$(MINIATURE)) ## annotations and photographs -> sample shards
	$(RUN) workflows.ingest $(ARGS)

generate-priors: setup ## queries -> prompts -> pictures -> features in the prior store
	$(RUN) workflows.generate_priors $(ARGS)

augment: setup ## generated scenes with proved queries, and their priors
	$(RUN) workflows.augment $(ARGS)

pack: setup ## join samples with their priors: training shards
	$(RUN) workflows.pack $(ARGS)

train: setup ## train the grounding network with accelerate
	$(RUN) workflows.train $(ARGS)

evaluate: setup ## accuracy of a trained network on the test splits
	$(RUN) workflows.evaluate $(ARGS)

predict: setup ## make predict IMAGE=photo.jpg QUERY="second cup from the left"
	$(RUN) workflows.predict --image "$(IMAGE)" --query "$(QUERY)" $(ARGS)

miniature-models: setup ## train the miniature CLIP, Stable Diffusion and detector (hours; resumable)
	$(RUN) workflows.miniature_models $(ARGS)

clean: ## remove what runs made; keeps .venv
	rm -rf data runs .mypy_cache .ruff_cache .pytest_cache .hypothesis
