# Every command a person runs here; CI runs the same ones. `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help install demo test lint tools protos models jamendo bench faults fuzz soak docs picture release clean

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check
CORE := $(VENV)/.core
DEV := $(VENV)/.dev
# Tests wait more than they work: more processes than cores, each of one thread.
# A file stays whole, for what its tests share; files go in order, so that the longest start first: deploy's and e2e's.
WORKERS ?= 4
# Where `make models` keeps corpus and checkpoints; SONGS=folder adds figures on real songs to the model card.
TRAINED ?= out/models
# Where it exports to. MODELS=model_repository replaces what is shipped, so deploy/evidence is to be made anew then.
MODELS ?= $(TRAINED)/model_repository
REQUESTS ?= 10000
MINUTES ?= 20

help: ## list these commands
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

# The services alone: no torch.
$(CORE): pyproject.toml
	@test -x $(BIN)/pip || { $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo 'earwitness needs Python 3.11 or newer: make PYTHON=/path/to/python3.11 ...' >&2; exit 1; }; \
	  $(PYTHON) -m venv --clear $(VENV); }
	@echo 'installing the services into $(VENV) ...'
	@$(PIP) --upgrade 'pip>=24'
	@$(PIP) --editable .
	@touch $@

# Training, export, tests. torch is pinned: other versions bring gigabytes of CUDA packages.
# tinysoundfont asks for an audio device library that rendering to memory does not need; musicnn for TensorFlow and an
# old numpy, where its weights alone are needed.
$(DEV): $(CORE)
	@echo 'installing what training and tests need into $(VENV) (torch among it: minutes) ...'
	@$(PIP) --editable '.[train,sweep,dev]'
	@$(PIP) --no-deps 'tinysoundfont==0.3.7' 'musicnn==0.1.0'
	@touch $@

install: $(DEV) ## environment with everything: services, training, tests

demo: $(CORE) ## explain the shipped singing-voice detector on a real Triton and score it
	@$(BIN)/earwitness demo --out out/demo

test: $(DEV) ## linters, then all tests; installs what they need
	@$(MAKE) --no-print-directory --jobs 2 lint tools
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

# Fetched while the linters work.
tools: $(DEV)
	@tests/install-tools.sh
	@$(BIN)/python -c 'from earwitness.inference.triton_install import fetch_tritonserver; fetch_tritonserver()'

lint: $(DEV) ## ruff, mypy, buf, import rules, dependency audit
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/python protos/generate.py --descriptors out/protos.binpb
	@$(BIN)/buf lint out/protos.binpb --config protos/buf.yaml --path earwitness
	@$(BIN)/buf breaking out/protos.binpb --config protos/buf.yaml --path earwitness --against protos/released.binpb
	@$(BIN)/lint-imports --no-cache --no-logo
	@$(BIN)/python tests/audit.py

# The shipped models came about in more and longer steps, which their cards tell; this is one straight way to their like.
# Each variant also without augmentation, for its card; the judge is from another seed than those whom it judges for.
models: $(DEV) ## build corpora, train and export models like those shipped (a day or two on a CPU); a second call goes on
	@$(BIN)/earwitness corpus build $(TRAINED)/corpus
	@set -e; for variant in r1 r2; do \
	  train="$(BIN)/earwitness train svd --variant $$variant --seed $${variant#r} --corpus $(TRAINED)/corpus"; \
	  $$train --out $(TRAINED)/svd-$$variant; \
	  $$train --no-augment --epochs 12 --out $(TRAINED)/svd-$$variant-plain; \
	done
	@$(BIN)/earwitness train svd --seed 3 --epochs 20 --corpus $(TRAINED)/corpus --out $(TRAINED)/judge
	@$(BIN)/earwitness train gan --detector $(TRAINED)/judge/best.pt --corpus $(TRAINED)/corpus --out $(TRAINED)/gan
	@$(BIN)/earwitness evaluate checkpoints $(TRAINED)/gan --classifier $(TRAINED)/svd-r1/best.pt --corpus $(TRAINED)/corpus
	@set -e; for variant in r1 r2; do \
	  $(BIN)/earwitness export svd-$$variant --generator $(TRAINED)/gan/best.pt \
	    --classifier $(TRAINED)/svd-$$variant/best.pt --corpus $(TRAINED)/corpus $(if $(SONGS),--songs $(SONGS)) \
	    --compare-classifier 'without augmentation'=$(TRAINED)/svd-$$variant-plain/best.pt \
	    --model-repository $(MODELS) --force; \
	done
	@$(BIN)/earwitness corpus replay $(TRAINED)/replayed
	@$(BIN)/earwitness study replay -c $(TRAINED)/replayed -o $(TRAINED)/study -n bulbul -n compact --seeds 2 \
	  --epochs 30 --patience 5 --lr 5e-4
	@set -e; runs=$(TRAINED)/study/runs; for pair in bulbul:256 compact:512; do \
	  network=$${pair%:*}; gan=$(TRAINED)/gan-$$network; corpus="--corpus $(TRAINED)/replayed --cache $(TRAINED)/study/spectrograms"; \
	  $(BIN)/earwitness train gan $$corpus --features log-power-$${pair#*:}@1 --updates 5000 --detector $$runs/$$network-s1/best.pt --out $$gan; \
	  $(BIN)/earwitness evaluate checkpoints $$gan $$corpus --classifier $$runs/$$network-more-s0/best.pt; \
	  $(BIN)/earwitness export replay-$$network $$corpus --generator $$gan/best.pt --classifier $$runs/$$network-more-s0/best.pt \
	    --compare-classifier 'seed 1'=$$runs/$$network-more-s1/best.pt --compare-classifier 'one window'=$$runs/$$network-s0/best.pt \
	    --model-repository $(MODELS) --force; \
	done

jamendo: $(DEV) ## train as published on the Jamendo set, evaluate: make jamendo JAMENDO=folder; a second call goes on
	@test -n '$(JAMENDO)' || { echo 'say where the set is: make jamendo JAMENDO=folder' >&2; exit 1; }
	@$(BIN)/earwitness data import '$(JAMENDO)' --kind jamendo --out $(TRAINED)/corpus-jamendo
	@$(BIN)/earwitness train svd --published --corpus $(TRAINED)/corpus-jamendo --out $(TRAINED)/svd-jamendo
	@$(BIN)/earwitness evaluate classifier $(TRAINED)/svd-jamendo/best.pt --corpus $(TRAINED)/corpus-jamendo \
	  --table $(TRAINED)/svd-jamendo/files.csv

bench: tools ## speed of the service beside PyTorch, of sweeps, of the scorer beside SciPy, freezing, throughput; into out/bench
	@mkdir -p out/bench
	@$(BIN)/python -m tests.benchmarks.bench_row_steps --json out/bench/row_steps.json
	@$(BIN)/python -m tests.benchmarks.bench_startup --json out/bench/startup.json
	@$(BIN)/python -m tests.benchmarks.bench_sweep --json out/bench/sweep.json
	@$(BIN)/python -m tests.benchmarks.bench_frechet --json out/bench/frechet.json
	@$(BIN)/python -m tests.benchmarks.bench_freeze --json out/bench/freeze.json
	@$(BIN)/python -m tests.benchmarks.bench_sound --json out/bench/sound.json
	@$(BIN)/python -m tests.benchmarks.bench_recurrence --json out/bench/recurrence.json
	@$(BIN)/earwitness bench svd-r1 --out out/bench/throughput --force

fuzz: $(DEV) ## 10 000 fuzzed requests to every RPC of real services (REQUESTS=N): what is no proper answer, and by what
	@mkdir -p out/bench
	@$(BIN)/python -m tests.fuzz --requests $(REQUESTS) --json out/bench/fuzz.json

soak: $(DEV) ## the whole stack under mixed load for 20 minutes (MINUTES=N): what grows; pictures into out/bench/soak
	@$(BIN)/python -m tests.benchmarks.soak --minutes $(MINUTES) --out out/bench/soak

faults: $(DEV) ## make parts fail again and again and count what becomes of calls: make faults REPEAT=5
	@$(BIN)/python -m tests.faults --repeat $(or $(REPEAT),1)

protos: $(DEV) ## generate the protobuf and gRPC code from protos/ into services/
	@$(BIN)/python protos/generate.py --out services

docs: $(DEV) ## the documentation site into out/docs; a link that leads nowhere ends it
	@$(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going --conf-dir deploy/docs . out/docs
	@echo "read it: $(CURDIR)/out/docs/index.html"

picture: tools ## the picture in README.md anew, by a real browser, and the lines printed above it
	@$(BIN)/python deploy/docs/picture.py deploy/docs/page.png

release: tools ## wheel, sdist, chart, software bills of materials and checksums, into dist/; publishes nothing
	@deploy/release.sh dist

clean: ## remove environment, caches and output; trainings in out/models stay
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis dist $(filter-out out/models,$(wildcard out/*))
