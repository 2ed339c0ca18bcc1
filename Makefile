# `make help` lists the targets. Most run one module, and ARGS is passed to it: make train ARGS="--help"

.DEFAULT_GOAL := help

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
PYTHON_M := $(BIN)/python -m
RUN ?=
NAME ?=
SIZE ?= short
CASES ?= 10000
ARGS ?=

# The index of another build of torch, such as the one for your CUDA
TORCH_INDEX ?=
PIP_INSTALL = $(BIN)/python -m pip install --quiet --constraint constraints.txt $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))

MODULES := inspect export generate-priors cut-out augment pack crop-features train evaluate app study push rehearsal
.PHONY: $(MODULES) help setup setup-dev check-setup format check test test-all fuzz faults benchmark demo miniature miniature-models ingest \
        compare gallery predict status cross-validate notebook docs clean

help: ## list the targets
	@awk '/^##@/ { print "\n" substr($$0, 5) } /^[a-z-]+:.*## / { name = $$0; sub(/:.*/, "", name); sub(/.*## /, ""); \
		printf "  %-18s%s\n", name, $$0 }' $(MAKEFILE_LIST)

$(MODULES):
	$(PYTHON_M) workflows.$(subst -,_,$@) $(ARGS)

##@ Start here
setup: .venv/runtime ## create .venv with the tested versions of what the steps need (TORCH_INDEX=URL for another torch)
setup-dev: .venv/dev ## add what tests, checks, app, notebook and documentation need
.venv/runtime: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version.split()[0] + "; set PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv .venv
	$(PIP_INSTALL) --editable .
	$(PYTHON_M) workflows.check_setup
	touch $@

.venv/app .venv/dev: .venv/%: .venv/runtime
	$(PIP_INSTALL) --editable ".[$*]"
	touch $@

demo: setup ## run the whole job on the miniature world in minutes, up to a page of results (SIZE=smoke, SIZE=full)
	$(PYTHON_M) workflows.demo --size $(SIZE) $(ARGS)

predict: setup ## answer a query about an image, or an example: make predict IMAGE=photo.jpg QUERY="second cup from the left"
	$(PYTHON_M) workflows.predict $(if $(IMAGE),--image "$(IMAGE)") $(if $(QUERY),--query "$(QUERY)") $(ARGS)

app: .venv/app ## open a page to try a network: image and query in; box, prior and attention out

##@ Steps, in their order
miniature: setup ## draw the miniature dataset
	$(PYTHON_M) workflows.miniature.world $(ARGS)

MINIATURE := data/miniature/refer/miniature/instances.json
$(MINIATURE): | setup
	$(PYTHON_M) workflows.miniature.world

inspect: setup ## check a dataset before you ingest it (ARGS as for ingest)

ingest: setup $(if $(ARGS),,$(MINIATURE)) ## convert annotations and images to sample shards
	$(PYTHON_M) workflows.ingest $(ARGS)

generate-priors: setup ## render missing priors and save their features to the prior store
cut-out: setup ## cut objects out of annotated images or priors, for pasted scenes
augment: setup ## generate scenes with verified queries, and their priors
pack: setup ## join samples with their priors for training
crop-features: setup ## encode crops of the training images' instances, to learn appearances from
train: setup ## train the grounding network with accelerate
evaluate: setup ## measure the accuracy of a network, by kind of query and with other priors

compare: setup ## compare two evaluations: make compare A=runs/miniature-both/evaluation B=runs/miniature-base/evaluation
	$(PYTHON_M) workflows.compare $(A) $(B) $(ARGS)

export: setup ## write samples or scenes in the formats of other trainers
push: setup ## push a trained network or an export to the Hugging Face Hub (ARGS="FOLDER org/name")

##@ Look at data and results
gallery: setup ## write static HTML of samples, priors, scenes and predictions (RUN=folder for one run)
	$(PYTHON_M) workflows.gallery $(if $(RUN),--run $(RUN)) $(ARGS)

notebook: setup-dev ## run docs/tour.ipynb and save it to runs/tour.ipynb (2 minutes)
	mkdir -p runs
	$(BIN)/jupyter execute --output="$(CURDIR)/runs/tour.ipynb" docs/tour.ipynb

##@ Clusters: docs/scale.md shows the commands of Ray, Slurm and Kubernetes
status: setup ## report the progress of a run, wherever it runs: make status RUN=data/miniature/scenes
	$(PYTHON_M) workflows.status "$(RUN)" $(ARGS)

##@ Measure
study: setup ## train and compare all variants, controls, seeds and sizes (hours; ARGS="--smoke" for a test)

rehearsal: setup ## run the whole job with full-size models of random weights, and report time, memory, disk (ARGS="--smoke" for a test)

cross-validate: setup ## cross-validate the variants on a few images of your own (ARGS="--dataset NAME", after pack)
	$(PYTHON_M) workflows.study.cross_validate $(ARGS)

benchmark: setup-dev ## run one benchmark: make benchmark NAME=engine; without NAME, list them
	$(PYTHON_M) benchmarks$(if $(NAME),.$(NAME)) $(ARGS)

##@ Develop
check: setup-dev ## run ruff, mypy --strict and the import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup-dev ## format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# One thread for each process; the tests of a file stay together, since they share what they made. Files come in their own
# order: by their number of tests, the longest ones, of few tests, would come last, on one core.
test test-all: export OMP_NUM_THREADS = 1
PYTEST := $(PYTHON_M) pytest -n auto --maxprocesses 8 --dist loadfile --no-loadscope-reorder --durations 10

test: setup-dev ## run the tests in parallel, without the slow ones (5 minutes on two cores)
	$(PYTEST) -m "not slow" $(ARGS)

test-all: setup-dev ## run all tests, also the slow ones: on Ray, in a browser, the commands of the docs (17 minutes)
	$(PYTEST) $(ARGS)


fuzz: setup-dev ## read damaged annotations, images and whole datasets, 10,000 each (CASES=1000 for fewer)
	FUZZ_CASES=$(CASES) $(PYTHON_M) pytest tests/shards/test_fuzz.py tests/workflows/test_fuzz.py $(ARGS)

faults: setup-dev ## interrupt a small job in every known way, resume it and compare the bytes (4 minutes)
	$(BIN)/python tests/pipeline/faults.py $(ARGS)

docs: setup-dev ## build the documentation site in runs/site; warnings are errors (while writing: .venv/bin/mkdocs serve)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

miniature-models: setup ## train the miniature models: CLIP, Stable Diffusion, detector, grounding network (hours; resumable)
	$(PYTHON_M) workflows.miniature.train_all $(ARGS)

check-setup: setup ## print the versions and the device, and whether torch sees the GPU
	$(PYTHON_M) workflows.check_setup

clean: ## remove the results of runs and caches; keeps .venv
	rm -rf data runs .mypy_cache .ruff_cache .import_linter_cache .pytest_cache .hypothesis
