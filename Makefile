# Everything a person runs. `make help` lists the targets; each target calls one module whose --help explains it.
# ARGS is passed on to the module:  make train ARGS="--help"

.DEFAULT_GOAL := help
.PHONY: help setup format check test fuzz demo miniature ingest inspect export generate-priors cut-out augment pack train evaluate compare gallery predict app study cross-validate notebook docs docs-serve \
        status faults benchmark-engine benchmark-ingest benchmark-attributes benchmark-render benchmark-priors benchmark-scenes \
        benchmark-agreement benchmark-trainer benchmark-gallery miniature-models clean

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
PYTHON_M := $(BIN)/python -m
RUN ?=
REAL ?=
SIZE ?= full
CASES ?= 10000
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

fuzz: setup ## feed every reader with damaged files, 10,000 cases each (CASES=1000 for fewer)
	FUZZ_CASES=$(CASES) $(BIN)/python -m pytest tests/shards/test_fuzz.py $(ARGS)

demo: setup ## the whole job on the miniature world: data, priors, scenes, two trainings, one table (SIZE=smoke for a glance)
	$(PYTHON_M) workflows.demo --size $(SIZE) $(ARGS)

miniature: setup ## draw the miniature data set
	$(PYTHON_M) workflows.miniature.world $(ARGS)

MINIATURE := data/miniature/refer/miniature/instances.json
$(MINIATURE): | setup
	$(PYTHON_M) workflows.miniature.world

ingest: setup $(if $(ARGS),,$(MINIATURE)) ## annotations and photographs -> sample shards
	$(PYTHON_M) workflows.ingest $(ARGS)

inspect: setup ## what a data set holds and what is wrong with it (ARGS="NAME ..." as of ingest)
	$(PYTHON_M) workflows.inspect $(ARGS)

export: setup ## samples or scenes in the formats of other trainers
	$(PYTHON_M) workflows.export $(ARGS)

generate-priors: setup ## queries -> prompts -> pictures -> features in the prior store
	$(PYTHON_M) workflows.generate_priors $(ARGS)

cut-out: setup ## cut-outs for pasted scenes, of outlined photographs or priors (ARGS="coco --help")
	$(PYTHON_M) workflows.cut_out $(ARGS)

augment: setup ## generated scenes with proved queries, and their priors
	$(PYTHON_M) workflows.augment $(ARGS)

pack: setup ## join samples with their priors: training shards
	$(PYTHON_M) workflows.pack $(ARGS)

train: setup ## train the grounding network with accelerate
	$(PYTHON_M) workflows.train $(ARGS)

evaluate: setup ## how good a trained network is, where it fails, whether its priors matter
	$(PYTHON_M) workflows.evaluate $(ARGS)

compare: setup ## is one network better? make compare A=runs/miniature-both/evaluation B=runs/miniature-base/evaluation
	$(PYTHON_M) workflows.compare $(A) $(B) $(ARGS)

gallery: setup ## look at samples, priors, scenes, predictions: static HTML (RUN=folder for one of them)
	$(PYTHON_M) workflows.gallery $(if $(RUN),--run $(RUN)) $(ARGS)

predict: setup ## make predict IMAGE=photo.jpg QUERY="second cup from the left"
	$(PYTHON_M) workflows.predict --image "$(IMAGE)" --query "$(QUERY)" $(ARGS)

app: setup ## a page to try a network on: picture and phrase in, box, prior and attention out
	$(PYTHON_M) workflows.app $(ARGS)

study: setup ## does the method work? all arms, controls, seeds and sizes in one table (hours; ARGS="--smoke" for a glance)
	$(PYTHON_M) workflows.study $(ARGS)

cross-validate: setup ## the same arms on few photographs of your own, cross-validated (ARGS="--dataset NAME", after pack)
	$(PYTHON_M) workflows.study.cross_validate $(ARGS)

notebook: setup ## run docs/tour.ipynb from top to bottom, into runs/tour.ipynb (2 minutes)
	mkdir -p runs
	$(BIN)/jupyter execute --output="$(CURDIR)/runs/tour.ipynb" docs/tour.ipynb

docs: setup ## the documentation as a site in runs/site; warnings are errors
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

docs-serve: setup ## the same at http://127.0.0.1:8000 while you write
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs serve

status: setup ## make status RUN=data/miniature/scenes: how far a run is, from its receipts (ARGS="--failures")
	$(PYTHON_M) workflows.status "$(RUN)" $(ARGS)

faults: setup ## break a small job in every way we know, run it again, compare the bytes; one table (4 minutes)
	$(BIN)/python tests/pipeline/faults.py $(ARGS)

benchmark-engine: setup ## what plans, resumes, memory and workers of the engine cost (half an hour)
	$(PYTHON_M) benchmarks.engine $(ARGS)

benchmark-ingest: setup ## a data set of RefCOCO's size to shards and back, against copying it (10 minutes)
	$(PYTHON_M) benchmarks.ingest $(ARGS)

benchmark-attributes: setup ## make benchmark-attributes REAL=FOLDER: how often attributes agree with the data sets' own
	$(PYTHON_M) benchmarks.attributes "$(REAL)" $(ARGS)

benchmark-render: setup ## priors a second against the loop that one writes first, in turn
	$(PYTHON_M) benchmarks.render $(ARGS)

benchmark-gallery: setup ## how fast a gallery of 100,000 entries is in a browser
	$(PYTHON_M) benchmarks.gallery $(ARGS)

benchmark-trainer: setup ## how fast the network trains and answers, beside the same one written plainly
	$(PYTHON_M) benchmarks.trainer $(ARGS)

benchmark-scenes: setup ## are the queries of generated scenes true? beside Pseudo-Q's rules (REAL=FOLDER: on real cut-outs, too)
	$(PYTHON_M) benchmarks.scenes $(if $(REAL),--real "$(REAL)") $(ARGS)

benchmark-agreement: setup ## do people mean what our programs mean? plain queries of a data set (ARGS="NAME ..." as of ingest)
	$(PYTHON_M) benchmarks.agreement $(ARGS)

benchmark-priors: setup ## do the miniature's priors show what the query means? the nearest crops say
	$(PYTHON_M) benchmarks.priors $(ARGS)

miniature-models: setup ## train the miniature CLIP, Stable Diffusion and detector (hours; resumable)
	$(PYTHON_M) workflows.miniature.train_all $(ARGS)

clean: ## remove what runs made; keeps .venv
	rm -rf data runs .mypy_cache .ruff_cache .pytest_cache .hypothesis
